-- +goose Up
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
INSERT INTO orders (item) VALUES ('tea');

-- +goose Down
DROP TABLE orders;
