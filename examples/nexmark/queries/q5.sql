-- The auctions with the most bids in the last ten seconds, every two seconds.
WITH counted AS (
    SELECT auction, window_start, window_end, count(*) AS bids
    FROM HOP(bid, date_time, INTERVAL '2' SECOND, INTERVAL '10' SECOND)
    GROUP BY auction, window_start, window_end
)
SELECT c.auction, c.window_start, c.bids
FROM counted AS c
JOIN (
    SELECT window_start, window_end, max(bids) AS most FROM counted GROUP BY window_start, window_end
) AS top
ON c.window_start = top.window_start AND c.window_end = top.window_end AND c.bids >= top.most;
