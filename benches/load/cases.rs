//! What is run: each case twice, with the tenant predicate by hand (for PgBouncer) and without (for pgwarden).

/// pgbench's `-M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Query messages, with new literals in each.
    Simple,
    /// Parse, Bind, Execute each time.
    Extended,
    /// Parse once, then Bind and Execute.
    Prepared,
}

impl Protocol {
    /// All of them.
    pub const ALL: [Protocol; 3] = [Protocol::Simple, Protocol::Extended, Protocol::Prepared];

    /// As pgbench spells it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }
    }

    /// Reads pgbench's spelling.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|p| p.name() == name).ok_or(format!("no protocol {name}"))
    }
}

/// A pgbench script.
#[derive(Debug)]
pub struct Case {
    /// In the table and on the command line.
    pub name: &'static str,
    /// Without the tenant.
    pub bare: &'static str,
    /// The same with the tenant by hand.
    pub by_hand: &'static str,
}

/// The schema with its rows: 20 tenants of 5,000 orders each; tenant 1 is measured.
pub const SCHEMA: &str = "
CREATE TABLE orders (id bigint PRIMARY KEY, tenant_id int NOT NULL, customer_id int NOT NULL, status text NOT NULL, total_cents int NOT NULL, note text);
INSERT INTO orders SELECT (t - 1) * 5000 + n, t, n % 500, (ARRAY['open','paid','shipped','returned'])[1 + n % 4], n * 7 % 10000, 'note ' || n
  FROM generate_series(1, 20) t, generate_series(1, 5000) n;
CREATE INDEX ON orders (tenant_id, status, id);
CREATE TABLE events (tenant_id int NOT NULL, at timestamptz NOT NULL DEFAULT now(), kind text, amount int);
CREATE UNLOGGED TABLE clicks (tenant_id int NOT NULL, session text, page text, amount int);
CREATE TABLE behind_rls (LIKE orders INCLUDING ALL);
INSERT INTO behind_rls SELECT * FROM orders;
ALTER TABLE behind_rls ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION public.pause() RETURNS void LANGUAGE sql AS 'SELECT pg_sleep(0.005)';
CREATE POLICY tenant ON behind_rls USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::int);
";

/// All cases. `:id` is a row of tenant 1.
pub const CASES: [Case; 5] = [
    Case {
        name: "point",
        bare: "\\set id random(1, 5000)\nSELECT id, status, total_cents FROM orders WHERE id = :id;\n",
        by_hand: "\\set id random(1, 5000)\nSELECT id, status, total_cents FROM orders WHERE id = :id AND tenant_id = 1;\n",
    },
    Case {
        name: "list50",
        bare: "\\set id random(1, 5000)\nSELECT * FROM orders WHERE status = 'open' AND id > :id ORDER BY id LIMIT 50;\n",
        by_hand: "\\set id random(1, 5000)\nSELECT * FROM orders WHERE status = 'open' AND id > :id AND tenant_id = 1 ORDER BY id LIMIT 50;\n",
    },
    Case {
        name: "insert",
        bare: "\\set n random(1, 1000000)\nINSERT INTO events (kind, amount) VALUES ('click', :n);\n",
        by_hand: "\\set n random(1, 1000000)\nINSERT INTO events (kind, amount, tenant_id) VALUES ('click', :n, 1);\n",
    },
    Case {
        name: "update",
        bare: "\\set id random(1, 5000)\nUPDATE orders SET total_cents = total_cents + 1 WHERE id = :id;\n",
        by_hand: "\\set id random(1, 5000)\nUPDATE orders SET total_cents = total_cents + 1 WHERE id = :id AND tenant_id = 1;\n",
    },
    Case {
        name: "tpcb-like",
        bare: "\\set id random(1, 5000)\nBEGIN;\nUPDATE orders SET total_cents = total_cents + 1 WHERE id = :id;\nSELECT total_cents FROM orders WHERE id = :id;\n\
               INSERT INTO events (kind, amount) VALUES ('sale', :id);\nEND;\n",
        by_hand: "\\set id random(1, 5000)\nBEGIN;\nUPDATE orders SET total_cents = total_cents + 1 WHERE id = :id AND tenant_id = 1;\n\
                  SELECT total_cents FROM orders WHERE id = :id AND tenant_id = 1;\nINSERT INTO events (kind, amount, tenant_id) VALUES ('sale', :id, 1);\nEND;\n",
    },
];

/// A large transfer.
#[derive(Debug)]
pub struct Bulk {
    /// In the table.
    pub name: &'static str,
    /// Statement without the tenant, and for COPY FROM one row.
    pub bare: (&'static str, &'static str),
    /// The same with the tenant by hand.
    pub by_hand: (&'static str, &'static str),
    /// How often a thousand of the rows are sent.
    pub times: usize,
}

/// Large transfers.
pub const BULK: [Bulk; 3] = [
    Bulk {
        name: "100,000 rows",
        bare: ("SELECT a.* FROM orders a, generate_series(1, 20)", ""),
        by_hand: ("SELECT a.* FROM orders a, generate_series(1, 20) WHERE a.tenant_id = 1", ""),
        times: 0,
    },
    Bulk {
        name: "COPY TO",
        bare: ("COPY (SELECT a.* FROM orders a, generate_series(1, 20)) TO STDOUT", ""),
        by_hand: ("COPY (SELECT a.* FROM orders a, generate_series(1, 20) WHERE a.tenant_id = 1) TO STDOUT", ""),
        times: 0,
    },
    Bulk {
        name: "COPY FROM, tenant column added",
        bare: ("COPY clicks (session, page, amount) FROM STDIN", "f3a9c27d10\t/products/blue-chair\t4200\n"),
        by_hand: (
            "COPY clicks (session, page, amount, tenant_id) FROM STDIN",
            "f3a9c27d10\t/products/blue-chair\t4200\t1\n",
        ),
        times: 200,
    },
];

/// The same question through PgBouncer and through pgwarden.
#[derive(Debug)]
pub struct Alternative {
    /// In the table.
    pub name: &'static str,
    /// Through PgBouncer.
    pub theirs: &'static str,
    /// Through pgwarden.
    pub ours: &'static str,
}

const GUARDED: &str = "SELECT count(*), sum(total_cents) FROM orders WHERE status = 'open';\n";

/// Other ways to keep tenants apart.
pub const ALTERNATIVES: [Alternative; 2] = [
    Alternative {
        name: "guard against a predicate by hand",
        theirs: "SELECT count(*), sum(total_cents) FROM orders WHERE status = 'open' AND tenant_id = 1;\n",
        ours: GUARDED,
    },
    Alternative {
        name: "guard against row-level security with BEGIN; SET LOCAL; COMMIT",
        theirs: "BEGIN;\nSET LOCAL app.tenant_id = '1';\nSELECT count(*), sum(total_cents) FROM behind_rls WHERE status = 'open';\nCOMMIT;\n",
        ours: GUARDED,
    },
];
