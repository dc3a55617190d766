-- The highest bids of each ten seconds.
SELECT b.auction, b.price, b.bidder, b.date_time
FROM bid AS b
JOIN (
    SELECT window_start, window_end, max(price) AS top
    FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
    GROUP BY window_start, window_end
) AS w
ON b.price = w.top AND b.date_time >= w.window_start AND b.date_time < w.window_end;
