-- Every bid as it is: what passing a row on costs.
SELECT auction, bidder, price, date_time, extra FROM bid;
