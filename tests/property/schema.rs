//! What of the fixture (tests/fixture/shop.sql) generated statements use.

/// What an expression is, as far as the generator must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Int,
    Text,
    Date,
    /// jsonb
    Json,
    /// text[]
    Texts,
}

impl Ty {
    /// As Postgres calls it; of numbers, the widest that occurs.
    pub fn sql(self) -> &'static str {
        match self {
            Self::Int => "int8",
            Self::Text => "text",
            Self::Date => "date",
            Self::Json => "jsonb",
            Self::Texts => "text[]",
        }
    }
}

/// A table with the columns that results may show: no draws of sequences, nothing of another type's order.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [(&'static str, Ty)],
    /// The tenant column and A's value in it, which every INSERT names: the solo database fills nothing in.
    pub tenant: (&'static str, &'static str),
    /// An INSERT that succeeds: columns, and values with `{n}` for a number that is not taken.
    pub insert: Option<(&'static str, &'static str)>,
    /// The target of ON CONFLICT, and a column that DO UPDATE sets. Taken keys are only ever one's own.
    pub conflict: Option<(&'static str, &'static str)>,
    /// A text column and an integer column that may be updated to anything small.
    pub update: (&'static [&'static str], &'static [&'static str]),
}

use Ty::{Date, Int, Json, Text, Texts};

pub const TABLES: &[Table] = &[
    Table {
        name: "customers",
        columns: &[
            ("id", Int),
            ("tenant_id", Int),
            ("name", Text),
            ("email", Text),
            ("phone", Text),
            ("credit_limit", Int),
            ("created_on", Date),
            ("country::text", Text),
            ("tags", Texts),
            ("prefs", Json),
        ],
        tenant: ("tenant_id", "1"),
        insert: Some(("id, email, name, credit_limit", "{n}, 'new_' || ({n}) || '@x.test', 'ALPHA_new', {n} % 50")),
        conflict: Some(("email", "name")),
        update: (&["name", "phone", "secret_note"], &["credit_limit"]),
    },
    Table {
        name: "orders",
        columns: &[
            ("id", Int),
            ("tenant_id", Int),
            ("customer_id", Int),
            ("total_cents", Int),
            ("note", Text),
            ("status::text", Text),
            ("placed_at::date", Date),
        ],
        tenant: ("tenant_id", "1"),
        insert: Some((
            "id, ref, customer_id, status, total_cents, note",
            "{n}, ('00000000-0000-4000-8000-' || lpad(({n})::text, 12, '0'))::uuid, 1 + {n} % 8, (ARRAY['new','paid'])[1 + {n} % 2]::order_status, {n} % 700, 'ALPHA_more'",
        )),
        conflict: Some(("id", "note")),
        update: (&["note"], &["total_cents"]),
    },
    Table {
        name: "order_items",
        columns: &[
            ("order_id", Int),
            ("line_no", Int),
            ("tenant_id", Int),
            ("sku", Text),
            ("qty::int", Int),
            ("price_cents", Int),
            ("line_total", Int),
        ],
        tenant: ("tenant_id", "1"),
        insert: Some(("order_id, line_no, sku, qty, price_cents", "1 + {n} % 15, {n}, 'ALPHA_sku_x', 2, 5")),
        conflict: Some(("tenant_id, order_id, line_no", "sku")),
        update: (&["sku"], &["price_cents"]),
    },
    Table {
        name: "profiles",
        columns: &[("customer_id", Int), ("tenant_id", Int), ("bio", Text), ("ssn", Text)],
        tenant: ("tenant_id", "1"),
        insert: None,
        conflict: None,
        update: (&["bio"], &[]),
    },
    Table {
        name: "payments",
        columns: &[("id", Int), ("tenant_id", Int), ("order_id", Int), ("amount_cents", Int), ("card", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("id, order_id, amount_cents, card", "{n}, 1 + {n} % 15, 12, 'ALPHA_card_x'")),
        conflict: Some(("id", "card")),
        update: (&["card"], &["amount_cents"]),
    },
    Table {
        name: "invoices",
        columns: &[("id", Int), ("number", Text), ("memo", Text), ("issued_on", Date), ("amount::int", Int)],
        tenant: ("org_id", "'00000000-0000-4000-8000-00000000000a'"),
        insert: Some((
            "id, issued_on, number, amount",
            "{n}, date '2024-01-01' + ({n} % 100)::int, 'ALPHA_inv_x', {n} % 90 + 0.5",
        )),
        conflict: Some(("id, issued_on", "memo")),
        update: (&["memo", "number"], &[]),
    },
    Table {
        name: "events",
        columns: &[
            ("id", Int),
            ("account", Text),
            ("kind", Text),
            ("(at AT TIME ZONE 'UTC')::date", Date),
            ("payload", Json),
        ],
        tenant: ("account", "'acme'"),
        insert: Some(("id, kind", "{n}, 'ALPHA_kind'")),
        conflict: None,
        update: (&["kind"], &["id"]),
    },
    Table {
        name: "tickets",
        columns: &[
            ("id", Int),
            ("parent_id", Int),
            ("title", Text),
            ("body", Text),
            ("assignee", Text),
            ("tenant", Text),
        ],
        tenant: ("tenant", "'acme'"),
        insert: Some(("id, title, assignee, parent_id", "{n}, 'ALPHA_title_x', NULL, 1 + {n} % 10")),
        conflict: Some(("id", "title")),
        update: (&["title", "assignee"], &["parent_id"]),
    },
    Table {
        name: "comments",
        columns: &[("id", Int), ("parent_id", Int), ("tenant_id", Int), ("body", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("id, parent_id, body", "{n}, 1 + {n} % 8, 'ALPHA_comment_x'")),
        conflict: Some(("id", "body")),
        update: (&["body"], &[]),
    },
    Table {
        name: "\"User\"",
        columns: &[("\"Id\"", Int), ("\"tenantId\"", Int), ("\"userName\"", Text), ("\"passwordHash\"", Text)],
        tenant: ("\"tenantId\"", "1"),
        insert: Some(("\"Id\", \"userName\"", "{n}, 'ALPHA_user_x'")),
        conflict: Some(("\"Id\"", "\"userName\"")),
        update: (&["\"userName\""], &[]),
    },
    Table {
        name: "note",
        columns: &[("note_id", Int), ("tenant_id", Int), ("note", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("note_id, note", "{n}, 'ALPHA_nn_x'")),
        conflict: Some(("note_id", "note")),
        update: (&["note"], &[]),
    },
    Table {
        name: "settings",
        columns: &[("tenant_id", Int), ("k", Text), ("v", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("k, v", "'k' || {n} % 9, 'ALPHA_val_x'")),
        conflict: Some(("tenant_id, k", "v")),
        update: (&["v"], &[]),
    },
    Table {
        name: "wallets",
        columns: &[("id", Int), ("tenant_id", Int), ("balance_cents", Int), ("owner_name", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("id, balance_cents, owner_name", "{n}, 5, 'ALPHA_owner_x'")),
        conflict: Some(("id", "owner_name")),
        update: (&["owner_name"], &["balance_cents"]),
    },
    Table {
        name: "docs",
        columns: &[("id", Int), ("tenant_id", Int), ("title", Text), ("body", Text)],
        tenant: ("tenant_id", "1"),
        insert: Some(("id, title, body", "{n}, 'ALPHA_t', 'ALPHA_b'")),
        conflict: Some(("id", "title")),
        update: (&["title", "body"], &[]),
    },
    Table {
        name: "measurements",
        columns: &[("tenant_id", Int), ("sensor", Text), ("at", Int), ("val", Int)],
        tenant: ("tenant_id", "1"),
        insert: Some(("sensor, at, val", "'ALPHA_sensor_' || {n} % 2, {n} % 20, {n}")),
        conflict: Some(("tenant_id, sensor, at", "val")),
        update: (&[], &["val"]),
    },
    Table {
        name: "tenants",
        columns: &[("tenant_id", Int), ("account", Text), ("name", Text)],
        tenant: ("tenant_id", "1"),
        insert: None,
        conflict: None,
        update: (&["name"], &[]),
    },
    // A child by inheritance and a partition, under their own names.
    Table {
        name: "events_purchase",
        columns: &[("id", Int), ("account", Text), ("kind", Text), ("payload", Json), ("amount_cents", Int)],
        tenant: ("account", "'acme'"),
        insert: Some(("id, kind, amount_cents", "{n}, 'ALPHA_kind', {n} % 90")),
        conflict: None,
        update: (&["kind"], &["amount_cents"]),
    },
    Table {
        name: "invoices_2024_02",
        columns: &[("id", Int), ("number", Text), ("memo", Text), ("issued_on", Date)],
        tenant: ("org_id", "'00000000-0000-4000-8000-00000000000a'"),
        insert: None,
        conflict: None,
        update: (&["memo"], &[]),
    },
    // Shared: read by all.
    Table {
        name: "countries",
        columns: &[("code::text", Text), ("name", Text)],
        tenant: ("", ""),
        insert: None,
        conflict: None,
        update: (&[], &[]),
    },
];

/// Columns that point at another table's key: an UPDATE ... FROM along them finds one row at most.
pub const EDGES: &[(&str, &str, &str, &str)] = &[
    ("orders", "customer_id", "customers", "id"),
    ("order_items", "order_id", "orders", "id"),
    ("payments", "order_id", "orders", "id"),
    ("profiles", "customer_id", "customers", "id"),
    ("tickets", "parent_id", "tickets", "id"),
    ("comments", "parent_id", "comments", "id"),
];

/// A table by name.
pub fn table(name: &str) -> &'static Table {
    TABLES.iter().find(|it| it.name == name).expect("a table of the list")
}
