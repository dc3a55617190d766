-- A reading that comes after its window has closed is counted, and kept here.
SELECT job, "row", watermark FROM weir.late_rows;
SELECT count(*) AS windows FROM average;
