-- Three organisations with some rows in every table.
SET ROLE saas_owner;
INSERT INTO schema_migrations VALUES ('001'), ('002');
INSERT INTO plans VALUES ('free', 3, 0), ('team', 20, 4900), ('company', 500, 99000);
INSERT INTO countries VALUES ('DE', 'Germany'), ('FR', 'France'), ('US', 'United States');
INSERT INTO orgs (slug, name, plan_id) VALUES ('acme', 'Acme Inc.', 'team'), ('globex', 'Globex Corporation', 'company'), ('initech', 'Initech', 'free');
INSERT INTO users (org_id, email, name) SELECT o.id, n || '@' || o.slug || '.example', initcap(n) FROM orgs o, unnest(ARRAY['ann', 'bob', 'cleo']) n;
INSERT INTO teams (org_id, name) SELECT o.id, n FROM orgs o, unnest(ARRAY['First line', 'Billing']) n;
INSERT INTO team_members SELECT t.id, u.id FROM teams t JOIN users u ON u.org_id = t.org_id WHERE u.name <> 'Bob' OR t.name = 'Billing';
INSERT INTO customers (org_id, name, email, country_code)
    SELECT o.id, 'Customer ' || n || ' of ' || o.slug, 'c' || n || '@customers.example', (ARRAY['DE', 'FR', 'US'])[1 + n % 3] FROM orgs o, generate_series(1, 20) n;
INSERT INTO tickets (org_id, customer_id, assignee_id, subject, status, priority)
    SELECT c.org_id, c.id, (SELECT min(u.id) FROM users u WHERE u.org_id = c.org_id), 'Ticket ' || n || ' of ' || c.name,
           (ARRAY['open', 'pending', 'closed'])[1 + (c.id + n) % 3], 1 + n % 5
    FROM customers c, generate_series(1, 5) n;
INSERT INTO comments (ticket_id, user_id, body) SELECT t.id, t.assignee_id, 'Working on ' || t.subject FROM tickets t;
INSERT INTO attachments (org_id, ticket_id, file_name, size) SELECT t.org_id, t.id, 'screen-' || t.id || '.png', 1000 + t.id FROM tickets t WHERE t.id % 4 = 0;
INSERT INTO tags (org_id, name) SELECT o.id, n FROM orgs o, unnest(ARRAY['bug', 'question', 'urgent']) n;
INSERT INTO ticket_tags SELECT t.id, g.id FROM tickets t JOIN tags g ON g.org_id = t.org_id WHERE (t.id + g.id) % 3 = 0;
INSERT INTO invoices (org_id, number, total_cents) SELECT o.id, 'R-' || n, 1000 * n FROM orgs o, generate_series(1, 6) n;
INSERT INTO invoice_lines (invoice_id, label, amount_cents) SELECT i.id, 'Seats', i.total_cents FROM invoices i;
INSERT INTO webhooks (org_id, url, secret) SELECT id, 'https://' || slug || '.example/hook', md5(slug) FROM orgs;
INSERT INTO jobs (kind, arguments) SELECT 'send_invoice', jsonb_build_object('invoice', id) FROM invoices;
RESET ROLE;
ANALYZE;
