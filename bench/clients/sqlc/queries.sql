-- name: Create :one
INSERT INTO orders (item, cents) VALUES (?, ?) RETURNING id;

-- name: Total :one
SELECT count(*) AS orders, CAST(total(cents) AS INTEGER) AS cents FROM orders;
