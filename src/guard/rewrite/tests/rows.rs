//! Which rows are whose beside the tenant column.

use super::forms::check;

/// Rows of everybody are read; they are neither written nor locked.
#[test]
fn rows_of_everybody() {
    check(&[
        (
            "SELECT * FROM templates WHERE lower(name) = 'x'",
            "SELECT * FROM public.templates WHERE (public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL) AND CASE WHEN public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL THEN lower(name) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM orders o LEFT JOIN templates t ON t.id = o.id WHERE lower(t.name) = 'x'",
            "SELECT * FROM public.orders o LEFT JOIN public.templates t ON (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND t.id = o.id WHERE o.tenant_id =T= $1 AND CASE WHEN t.tenant_id =T= $1 OR t.tenant_id IS NULL THEN lower(t.name) = 'x' ELSE false END",
        ),
        (
            "SELECT t.name FROM orders o FULL JOIN templates t ON t.id = o.id",
            "SELECT t.name FROM (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o FULL JOIN (SELECT templates.id, templates.tenant_id, templates.name FROM public.templates WHERE public.templates.tenant_id =T= $1 OR public.templates.tenant_id IS NULL) t ON t.id = o.id",
        ),
        (
            "SELECT * FROM templates FOR UPDATE",
            "SELECT * FROM public.templates WHERE public.templates.tenant_id =T= $1 FOR UPDATE",
        ),
        (
            "SELECT * FROM templates t, orders o FOR UPDATE OF o",
            "SELECT * FROM public.templates t, public.orders o WHERE (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND o.tenant_id =T= $1 FOR UPDATE OF o",
        ),
        (
            "SELECT * FROM (SELECT * FROM templates) t WHERE EXISTS (SELECT 1 FROM templates x WHERE x.id = t.id) FOR SHARE",
            "SELECT * FROM (SELECT * FROM public.templates WHERE public.templates.tenant_id =T= $1) t WHERE EXISTS (SELECT 1 FROM public.templates x WHERE (x.tenant_id =T= $1 OR x.tenant_id IS NULL) AND x.id = t.id) FOR SHARE",
        ),
        (
            "UPDATE templates SET name = t.name FROM templates t WHERE t.id = 1 AND templates.id = 2",
            "UPDATE public.templates SET name = t.name FROM public.templates t WHERE public.templates.tenant_id =T= $1 AND (t.tenant_id =T= $1 OR t.tenant_id IS NULL) AND t.id = 1 AND templates.id = 2",
        ),
        ("DELETE FROM templates", "DELETE FROM public.templates WHERE public.templates.tenant_id =T= $1"),
        (
            "INSERT INTO templates (id, name) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET name = 'y'",
            "INSERT INTO public.templates (id, name, tenant_id) VALUES (1, 'x', $1) ON CONFLICT (id) DO UPDATE SET name = 'y' WHERE CASE WHEN public.templates.tenant_id =T= $1 THEN true ELSE TAKEN END AND public.templates.tenant_id =T= $1",
        ),
    ]);
}

/// A row of these is the tenant's if the row is that its foreign key leads to.
#[test]
fn tables_that_belong_through_a_foreign_key() {
    check(&[
        (
            "SELECT * FROM order_tags WHERE tag = 'x' AND lower(tag) = 'x'",
            "SELECT * FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND tag = 'x' AND CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) THEN lower(tag) = 'x' ELSE false END AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "SELECT t.tag FROM orders o JOIN order_tags t ON t.order_id = o.id",
            "SELECT t.tag FROM public.orders o JOIN public.order_tags t ON t.order_id = o.id WHERE o.tenant_id =T= $1 AND (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "SELECT t.tag FROM orders o LEFT JOIN order_tags t ON t.order_id = o.id WHERE lower(t.tag) = 'x'",
            "SELECT t.tag FROM public.orders o LEFT JOIN public.order_tags t ON (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND t.order_id = o.id AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) WHERE o.tenant_id =T= $1 AND CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) OR t.* IS NULL THEN lower(t.tag) = 'x' ELSE false END",
        ),
        (
            "SELECT * FROM tag_notes n WHERE n.id = $1",
            "SELECT * FROM public.tag_notes n WHERE (SELECT true FROM public.order_tags pgwarden_parent1 WHERE (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id) AND pgwarden_parent1.order_id =T= n.tag_order) AND n.id = $1 AND EXISTS (SELECT true FROM public.order_tags pgwarden_parent1 WHERE (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id) AND pgwarden_parent1.order_id =T= n.tag_order AND EXISTS (SELECT true FROM public.orders pgwarden_parent2 WHERE pgwarden_parent2.tenant_id =T= $2 AND pgwarden_parent2.id =T= pgwarden_parent1.order_id))",
        ),
        (
            "SELECT * FROM order_tags AS t(a, b)",
            "SELECT * FROM (SELECT order_tags.order_id, order_tags.tag FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)) t(a, b)",
        ),
        (
            "DELETE FROM order_tags WHERE tag = 'x'",
            "DELETE FROM public.order_tags WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND tag = 'x' AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "UPDATE order_tags SET tag = 'y', order_id = order_tags.order_id",
            "UPDATE public.order_tags SET tag = 'y', order_id = order_tags.order_id WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "UPDATE order_tags t SET order_id = t.order_id + 1",
            "UPDATE public.order_tags t SET order_id = (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT (t.order_id + 1)::bigint) pgwarden_rows(c1) ON true) WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "UPDATE order_tags t SET (order_id, tag) = (SELECT id, status FROM orders WHERE id = 1)",
            "UPDATE public.order_tags t SET (order_id, tag) = (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END, pgwarden_rows.c2 FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT id, status FROM public.orders WHERE public.orders.tenant_id =T= $1 AND id = 1) pgwarden_rows(c1, c2) ON true) WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND EXISTS (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id)",
        ),
        (
            "INSERT INTO order_tags VALUES ($1, 'x'), (5, 'y')",
            "INSERT INTO public.order_tags (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $2 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT $1::bigint) pgwarden_rows(c1) ON true), 'x'), ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $2 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT 5::bigint) pgwarden_rows(c1) ON true), 'y')",
        ),
        (
            "INSERT INTO order_tags (tag, order_id) SELECT 'x', o.id FROM orders o",
            "INSERT INTO public.order_tags (tag, order_id) SELECT 'x', (SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT o.id) pgwarden_rows(c1) ON true) FROM public.orders o WHERE o.tenant_id =T= $1",
        ),
        (
            "INSERT INTO order_tags (tag, order_id) SELECT 'x', max(id) FROM orders",
            "INSERT INTO public.order_tags (tag, order_id) SELECT pgwarden_rows.c1, CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c2) THEN pgwarden_rows.c2 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT 'x', max(id) FROM public.orders WHERE public.orders.tenant_id =T= $1) pgwarden_rows(c1, c2)",
        ),
        (
            "INSERT INTO order_tags VALUES (1, 'x') ON CONFLICT (order_id, tag) DO UPDATE SET order_id = excluded.order_id",
            "INSERT INTO public.order_tags (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT 1::bigint) pgwarden_rows(c1) ON true), 'x') ON CONFLICT (order_id, tag) DO UPDATE SET order_id = excluded.order_id WHERE (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= public.order_tags.order_id)",
        ),
        (
            "MERGE INTO order_tags t USING orders o ON t.order_id = o.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (o.id, 'x')",
            "MERGE INTO public.order_tags t USING (SELECT orders.id, orders.tenant_id, orders.customer_id, orders.status, orders.total, orders.open, orders.placed_at FROM public.orders WHERE public.orders.tenant_id =T= $1) o ON (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) AND t.order_id = o.id WHEN MATCHED AND (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= t.order_id) THEN DELETE WHEN NOT MATCHED THEN INSERT (order_id, tag) VALUES ((SELECT CASE WHEN (SELECT true FROM public.orders pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= pgwarden_rows.c1) THEN pgwarden_rows.c1 ELSE pg_catalog.concat('insert or update on table \"order_tags\" violates foreign key constraint \"order_tags_order_id_fkey\"')::boolean::pg_catalog.text::bigint END FROM (SELECT true) pgwarden_row LEFT JOIN (SELECT o.id) pgwarden_rows(c1) ON true), 'x')",
        ),
        (
            "SELECT * FROM template_parts p FOR UPDATE",
            "SELECT * FROM public.template_parts p WHERE (SELECT true FROM public.templates pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= p.template_id) AND EXISTS (SELECT true FROM public.templates pgwarden_parent1 WHERE pgwarden_parent1.tenant_id =T= $1 AND pgwarden_parent1.id =T= p.template_id) FOR UPDATE",
        ),
        (
            "SELECT * FROM template_parts p",
            "SELECT * FROM public.template_parts p WHERE (SELECT true FROM public.templates pgwarden_parent1 WHERE (pgwarden_parent1.tenant_id =T= $1 OR pgwarden_parent1.tenant_id IS NULL) AND pgwarden_parent1.id =T= p.template_id) AND EXISTS (SELECT true FROM public.templates pgwarden_parent1 WHERE (pgwarden_parent1.tenant_id =T= $1 OR pgwarden_parent1.tenant_id IS NULL) AND pgwarden_parent1.id =T= p.template_id)",
        ),
    ]);
}
