SELECT * FROM hot ORDER BY bids DESC, auction LIMIT 5;
SELECT count(*) AS windows, sum(bids) AS bids, max(top) AS top, sum(total) AS total FROM hot;
-- Rows in which the view over the inserts and the one over the file differ.
SELECT count(*) AS differences FROM (
    (SELECT * FROM hot EXCEPT ALL SELECT * FROM hot_file) UNION ALL
    (SELECT * FROM hot_file EXCEPT ALL SELECT * FROM hot)) AS d;
