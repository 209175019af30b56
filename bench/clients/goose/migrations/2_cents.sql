-- +goose Up
ALTER TABLE orders ADD COLUMN cents INTEGER NOT NULL DEFAULT 100;
CREATE INDEX orders_by_item ON orders (item);

-- +goose Down
DROP INDEX orders_by_item;
ALTER TABLE orders DROP COLUMN cents;
