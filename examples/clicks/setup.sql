-- Clicks of a web site, as CSV with a header, one file a day; and of an app, as JSON lines.
CREATE SOURCE web (at TIMESTAMP, visitor VARCHAR, page VARCHAR, took_ms BIGINT,
    WATERMARK FOR at AS at - INTERVAL '1' MINUTE)
WITH (connector = 'file', path = 'examples/clicks/web-*.csv') FORMAT PLAIN ENCODE CSV (header = 'true');

CREATE SOURCE app (at TIMESTAMP, visitor VARCHAR, page VARCHAR, took_ms BIGINT, device VARCHAR,
    WATERMARK FOR at AS at - INTERVAL '1' MINUTE)
WITH (connector = 'file', path = 'examples/clicks/app.json') FORMAT PLAIN ENCODE JSON;

-- Both together, as they come.
CREATE MATERIALIZED VIEW click AS
SELECT at, visitor, page, took_ms, 'web' AS channel FROM web
UNION ALL
SELECT at, visitor, page, took_ms, device FROM app;

-- A view on a view: what each page is asked for, by hour.
CREATE MATERIALIZED VIEW page_by_hour AS
SELECT window_start AS hour, page, count(*) AS clicks, count(DISTINCT visitor) AS visitors, max(took_ms) AS slowest_ms
FROM TUMBLE(click, at, INTERVAL '1' HOUR)
GROUP BY window_start, page;

-- Running totals.
CREATE MATERIALIZED VIEW by_channel AS
SELECT channel, count(*) AS clicks, count(*) FILTER (WHERE page = '/signup') AS signups,
       min(at) AS first, max(at) AS last
FROM click GROUP BY channel;
