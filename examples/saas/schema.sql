-- A help desk that many organisations use, as such apps are: nearly every table has org_id, some belong by a foreign key, a few
-- are for all. docs/guides/adopting.md puts pgwarden in front of it.
CREATE ROLE saas_owner;
CREATE ROLE saas_app LOGIN PASSWORD 'change-me' IN ROLE saas_owner;
ALTER SCHEMA public OWNER TO saas_owner;
SET ROLE saas_owner;

CREATE TABLE plans (id text PRIMARY KEY, seats int NOT NULL, price_cents int NOT NULL);
CREATE TABLE countries (code char(2) PRIMARY KEY, name text NOT NULL);

CREATE TABLE orgs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    slug text NOT NULL UNIQUE,
    name text NOT NULL,
    plan_id text NOT NULL DEFAULT 'free' REFERENCES plans,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE users (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    email text NOT NULL,
    name text NOT NULL,
    password_digest text NOT NULL DEFAULT '',
    UNIQUE (org_id, email)
);
CREATE TABLE teams (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, name text NOT NULL);
CREATE TABLE team_members (
    team_id bigint NOT NULL REFERENCES teams ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    PRIMARY KEY (team_id, user_id)
);
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    name text NOT NULL,
    email text,
    country_code char(2) REFERENCES countries
);
CREATE TABLE tickets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    customer_id bigint NOT NULL REFERENCES customers,
    assignee_id bigint REFERENCES users,
    subject text NOT NULL,
    status text NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'pending', 'closed')),
    priority int NOT NULL DEFAULT 3,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE comments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ticket_id bigint NOT NULL REFERENCES tickets ON DELETE CASCADE,
    user_id bigint NOT NULL REFERENCES users,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE attachments (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    ticket_id bigint NOT NULL REFERENCES tickets ON DELETE CASCADE,
    file_name text NOT NULL,
    size int NOT NULL
);
CREATE TABLE tags (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, name text NOT NULL, UNIQUE (org_id, name));
CREATE TABLE ticket_tags (
    ticket_id bigint NOT NULL REFERENCES tickets ON DELETE CASCADE,
    tag_id bigint NOT NULL REFERENCES tags ON DELETE CASCADE,
    PRIMARY KEY (ticket_id, tag_id)
);
CREATE TABLE invoices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    number text NOT NULL,
    issued_on date NOT NULL DEFAULT current_date,
    total_cents int NOT NULL DEFAULT 0,
    UNIQUE (org_id, number)
);
CREATE TABLE invoice_lines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_id bigint NOT NULL REFERENCES invoices ON DELETE CASCADE,
    label text NOT NULL,
    amount_cents int NOT NULL
);
CREATE TABLE webhooks (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs, url text NOT NULL, secret text NOT NULL);
CREATE TABLE audit_log (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    org_id bigint NOT NULL REFERENCES orgs,
    what text NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind text NOT NULL, arguments jsonb NOT NULL, run_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE schema_migrations (version text PRIMARY KEY);

CREATE INDEX ON users (org_id);
CREATE INDEX ON teams (org_id);
CREATE INDEX ON customers (org_id);
CREATE INDEX ON tickets (org_id, status, created_at);
CREATE INDEX ON tickets (org_id, customer_id);
CREATE INDEX ON comments (ticket_id);
CREATE INDEX ON attachments (org_id, ticket_id);
CREATE INDEX ON ticket_tags (tag_id);
CREATE INDEX ON invoice_lines (invoice_id);
CREATE INDEX ON webhooks (org_id);
CREATE INDEX ON audit_log (org_id, at);

CREATE VIEW open_tickets AS SELECT id, org_id, subject, priority FROM tickets WHERE status = 'open';
CREATE VIEW customer_load AS
    SELECT c.org_id, c.name, count(t.id) AS tickets FROM customers c LEFT JOIN tickets t ON t.customer_id = c.id GROUP BY c.org_id, c.name;

CREATE FUNCTION slugify(value text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$ SELECT regexp_replace(lower(value), '[^a-z0-9]+', '-', 'g') $$;

CREATE FUNCTION log_ticket() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit_log (org_id, what) VALUES (NEW.org_id, 'ticket ' || NEW.id || ': ' || TG_OP); RETURN NEW; END $$;
CREATE TRIGGER log_ticket AFTER INSERT OR UPDATE ON tickets FOR EACH ROW EXECUTE FUNCTION log_ticket();
