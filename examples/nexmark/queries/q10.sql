-- Every bid with the day and the minute that a folder of files would have it under.
SELECT auction, bidder, price, date_time, extra,
    CAST(date_time AS DATE) AS day, date_trunc('minute', date_time) AS minute
FROM bid;
