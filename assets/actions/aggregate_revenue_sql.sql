-- output: revenue_sql
-- inputs: orders, lineitem, customer
-- schema: month date, segment string, revenue decimal(18,2), orders bigint
-- check: not_null(month, segment, revenue)
-- check: unique(month, segment)
-- check: at_least(rows=1)
-- sort_by: month, segment
-- param: min_orders int = 0
-- profile: medium
-- description: Net revenue (price less discount) and number of orders, by month of order and market segment, in SQL.
SELECT
    trunc(o_orderdate, 'month') AS month,
    c_mktsegment AS segment,
    CAST(sum(l_extendedprice * (1 - l_discount)) AS DECIMAL(18, 2)) AS revenue,
    count(DISTINCT o_orderkey) AS orders
FROM lineitem
JOIN orders ON l_orderkey = o_orderkey
JOIN customer ON o_custkey = c_custkey
GROUP BY ALL
HAVING count(DISTINCT o_orderkey) >= :min_orders
