-- How many bids somebody makes in a row, with pauses of less than ten seconds.
SELECT bidder, window_start, window_end, count(*) AS bids
FROM SESSION(bid PARTITION BY bidder, date_time, INTERVAL '10' SECOND)
GROUP BY bidder, window_start, window_end;
