-- The ten highest bids on each auction.
SELECT auction, bidder, price, channel, date_time, place
FROM (
    SELECT auction, bidder, price, channel, date_time,
        row_number() OVER (PARTITION BY auction ORDER BY price DESC, date_time, bidder, channel) AS place
    FROM bid
) AS ranked
WHERE place <= 10;
