-- The bids of an auction house, as they are inserted.
CREATE TABLE bid (id BIGINT, auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time TIMESTAMP,
    WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND) APPEND ONLY;

-- What each auction gets in ten seconds.
CREATE MATERIALIZED VIEW hot AS
SELECT auction, window_start, count(*) AS bids, max(price) AS top, sum(price) AS total
FROM TUMBLE(bid, date_time, INTERVAL '10' SECOND)
GROUP BY auction, window_start;

-- The same over the file that they come from.
CREATE SOURCE bid_file (id BIGINT, auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, date_time TIMESTAMP,
    WATERMARK FOR date_time AS date_time - INTERVAL '4' SECOND)
WITH (connector = 'file', path = 'examples/demo/bids.csv') FORMAT PLAIN ENCODE CSV;

CREATE MATERIALIZED VIEW hot_file AS
SELECT auction, window_start, count(*) AS bids, max(price) AS top, sum(price) AS total
FROM TUMBLE(bid_file, date_time, INTERVAL '10' SECOND)
GROUP BY auction, window_start;
