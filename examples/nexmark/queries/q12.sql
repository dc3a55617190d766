-- How many bids somebody makes in ten seconds. By event time, so that the answer is the same at each run.
SELECT bidder, window_start, window_end, count(*) AS bids
FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
GROUP BY bidder, window_start, window_end;
