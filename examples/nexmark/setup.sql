-- The bids of the Nexmark benchmark's auction house, made on the spot: the same at each run.
CREATE SOURCE bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time TIMESTAMP,
    WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND)
WITH (connector = 'nexmark', type = 'bid', events = '200000');

-- Auctions by ten seconds.
CREATE MATERIALIZED VIEW hot AS
SELECT auction, window_start, count(*) AS bids, max(price) AS top, sum(price) AS total
FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
GROUP BY auction, window_start;

-- What goes through each channel, for the expensive things.
CREATE MATERIALIZED VIEW channels AS
SELECT channel, count(*) AS bids, max(price) AS top FROM bid WHERE price > 1000000 GROUP BY channel;
