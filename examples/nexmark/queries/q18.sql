-- The last bid of each bidder on each auction.
SELECT auction, bidder, price, channel, date_time
FROM (
    SELECT auction, bidder, price, channel, date_time,
        row_number() OVER (PARTITION BY bidder, auction ORDER BY date_time DESC, price DESC, channel) AS place
    FROM bid
) AS ranked
WHERE place = 1;
