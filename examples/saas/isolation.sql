-- The app's own expectations of isolation, for: pgwarden verify-isolation --suite isolation.sql

-- test: the dashboard counts own tickets only
-- expect: value 100
SELECT count(*) FROM tickets;

-- test: an invoice cannot be given away
-- expect: error 42501
UPDATE invoices SET org_id = :tenant_b;

-- test: a comment cannot be put under another's ticket
-- expect: error 23503
INSERT INTO comments (ticket_id, user_id, body) VALUES ((SELECT max(id) + 100 FROM tickets), (SELECT min(id) FROM users), 'x');

-- test: the plan's price stands
-- expect: error 42501
UPDATE plans SET price_cents = 0;
