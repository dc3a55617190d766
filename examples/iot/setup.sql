-- Sensors send JSON lines over TCP; Weir listens. What it has read is in a log on disk, so it survives a crash.
CREATE SOURCE reading (sensor VARCHAR, at TIMESTAMP, celsius DOUBLE PRECISION,
    WATERMARK FOR at AS at - INTERVAL '2' SECOND)
WITH (connector = 'tcp', listen = '127.0.0.1:7878') FORMAT PLAIN ENCODE JSON;

-- Ten seconds at a time; a window appears once, when no more readings are expected for it.
CREATE MATERIALIZED VIEW average AS
SELECT window_start, sensor, count(*) AS readings, avg(celsius) AS celsius
FROM TUMBLE(reading, at, INTERVAL '10' SECOND)
GROUP BY window_start, sensor
EMIT ON WINDOW CLOSE;

-- The hottest so far, as it changes.
CREATE MATERIALIZED VIEW hottest AS
SELECT sensor, max(celsius) AS celsius FROM reading GROUP BY sensor HAVING max(celsius) > 50;
