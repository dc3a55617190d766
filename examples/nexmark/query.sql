SELECT * FROM hot ORDER BY bids DESC, auction LIMIT 5;
SELECT count(*) AS windows, sum(bids) AS bids FROM hot;
SELECT * FROM channels ORDER BY bids DESC, channel LIMIT 4;
