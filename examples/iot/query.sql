SELECT * FROM average ORDER BY window_start, sensor;
SELECT * FROM hottest;
-- A line that is no JSON was not lost.
SELECT source, CAST(raw AS VARCHAR) AS raw FROM weir.dead_letters;
