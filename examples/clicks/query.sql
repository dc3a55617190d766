SELECT * FROM page_by_hour WHERE clicks >= 25 ORDER BY hour, page;
SELECT * FROM by_channel ORDER BY channel;
-- Lines that could not be read were not lost.
SELECT source, convert_from(raw, 'UTF8') AS raw, error FROM weir.dead_letters ORDER BY "offset";
