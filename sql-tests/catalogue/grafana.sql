-- the version, for its query builder
SELECT current_setting('server_version_num')::int/100 as version
--> 1500

-- is it Timescale
SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'

-- tables of the search path
SELECT CASE WHEN quote_ident(table_schema) IN ( SELECT CASE WHEN trim(s[i]) = '"$user"' THEN user ELSE trim(s[i]) END FROM generate_series( array_lower(string_to_array(current_setting('search_path'),','),1), array_upper(string_to_array(current_setting('search_path'),','),1) ) as i, string_to_array(current_setting('search_path'),',') s ) THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog', '_timescaledb_cache', '_timescaledb_catalog') ORDER BY 1
--> item

-- tables, in its older form
SELECT quote_ident(table_name) as "table" FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog') AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY table_name
--> per_shop

-- columns of a table
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns WHERE CASE WHEN array_length(parse_ident('item'),1) = 2 THEN quote_ident(table_schema) = (parse_ident('item'))[1] AND quote_ident(table_name) = (parse_ident('item'))[2] ELSE quote_ident(table_name) = 'item' END
--> price | numeric

-- a panel
SELECT floor(extract(epoch from at)/60)*60 AS "time", avg(price) AS "value" FROM item WHERE at BETWEEN '2024-01-01T00:00:00Z' AND '2024-01-02T00:00:00Z' GROUP BY 1 ORDER BY 1
--> 1704067200

-- a panel with a series a shop
SELECT at AS "time", shop::text AS metric, price AS value FROM item WHERE at >= '2024-01-01T00:00:00Z' AND at <= '2024-01-02T00:00:00Z' ORDER BY 1, 2
--> 2024-01-01 00:00:00+00 | 1 | 5.00
