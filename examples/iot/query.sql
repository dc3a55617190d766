SELECT * FROM average ORDER BY window_start, sensor;
SELECT * FROM hottest;
-- A line that is no JSON was not lost.
SELECT source, convert_from(raw, 'UTF8') AS raw FROM weir.dead_letters;
