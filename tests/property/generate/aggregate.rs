//! Groups and windows.

use super::super::schema::Ty;
use super::{Col, Generator, Query};

impl Generator {
    pub(super) fn grouped(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let keys: Vec<Col> = (0..1 + self.choices.below(2)).map(|_| self.choices.pick(&own).clone()).collect();
        let (aggregate, ty) = self.aggregate(depth, &scope);
        let (second, second_ty) = self.over_groups(depth, &scope, &keys);
        let names: Vec<_> = keys.iter().map(|it| it.sql.as_str()).collect();
        let all = names.join(", ");
        let grouping = match self.choices.below(9) {
            3 => format!("ROLLUP ({all})"),
            4 => format!("CUBE ({all})"),
            5 => format!("GROUPING SETS (({all}), ({}), ())", names[0]),
            6 => format!("GROUPING SETS (ROLLUP ({all}), CUBE ({}))", names[0]),
            7 => format!("DISTINCT ROLLUP ({all}), {}", names[0]),
            8 => (1..=names.len()).map(|it| it.to_string()).collect::<Vec<_>>().join(", "),
            _ => all.clone(),
        };
        let filter = self.filter(depth, &scope);
        let having = match self.choices.below(5) {
            2 => " HAVING count(*) > 1".to_owned(),
            3 => format!(" HAVING {} IS NOT NULL", self.aggregate(0, &scope).0),
            4 => format!(" HAVING count(*) >= (SELECT min(x.id) FROM orders x WHERE x.id > {})", self.choices.below(3)),
            _ => String::new(),
        };
        let mut types: Vec<Ty> = keys.iter().map(|it| it.ty).collect();
        types.extend([ty, second_ty]);
        let mut items: Vec<String> = keys.iter().map(|it| it.sql.clone()).collect();
        items.extend([aggregate, second]);
        let list: Vec<_> = items.iter().enumerate().map(|(at, it)| format!("{it} AS c{at}")).collect();
        Query { sql: format!("SELECT {} FROM {from}{filter} GROUP BY {grouping}{having}", list.join(", ")), types }
    }

    /// An aggregate, GROUPING, or a window over the groups.
    fn over_groups(&mut self, depth: usize, scope: &[Col], keys: &[Col]) -> (String, Ty) {
        match self.choices.below(6) {
            3 => (format!("GROUPING({})", keys[0].sql), Ty::Int),
            4 => ("(sum(count(*)) OVER ())::int".to_owned(), Ty::Int),
            5 => ("(rank() OVER (ORDER BY count(*) DESC))::int".to_owned(), Ty::Int),
            _ => self.aggregate(depth, scope),
        }
    }

    /// Aggregates over everything: one row, whatever is there.
    pub(super) fn aggregated(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let (items, types): (Vec<_>, Vec<_>) =
            (0..1 + self.choices.below(3)).map(|_| self.aggregate(depth, &scope)).unzip();
        let list: Vec<_> = items.iter().enumerate().map(|(at, it)| format!("{it} AS c{at}")).collect();
        let filter = self.filter(depth, &scope);
        Query { sql: format!("SELECT {} FROM {from}{filter}", list.join(", ")), types }
    }

    pub(super) fn aggregate(&mut self, depth: usize, scope: &[Col]) -> (String, Ty) {
        let depth = depth.saturating_sub(2);
        let int = self.expression(depth, Ty::Int, scope);
        let (text, date) = (self.typed(depth, Ty::Text, scope), self.expression(depth, Ty::Date, scope));
        let (call, cast, ty) = match self.choices.below(20) {
            1 => (format!("sum({int})"), "::int", Ty::Int),
            2 => (format!("max({int})"), "", Ty::Int),
            3 => (format!("min({text})"), "", Ty::Text),
            4 => (format!("count(DISTINCT {text})"), "::int", Ty::Int),
            5 => (format!("string_agg({text}, ',' ORDER BY {text})"), "", Ty::Text),
            6 => (format!("min({date})"), "", Ty::Date),
            7 => (format!("count({int})"), "", Ty::Int),
            8 => (format!("avg({int})"), "::int", Ty::Int),
            9 => (format!("bool_and({int} > 3)"), "::text", Ty::Text),
            10 => (format!("array_agg({text} ORDER BY {text} DESC NULLS LAST)"), "::text[]", Ty::Texts),
            11 => (format!("percentile_disc(0.5) WITHIN GROUP (ORDER BY {int})"), "", Ty::Int),
            12 => (format!("percentile_cont(0.25) WITHIN GROUP (ORDER BY {int})"), "::int", Ty::Int),
            13 => (format!("mode() WITHIN GROUP (ORDER BY {text} DESC)"), "", Ty::Text),
            14 => (format!("jsonb_agg({int} ORDER BY {int})"), "", Ty::Json),
            15 => (format!("rank(5) WITHIN GROUP (ORDER BY {int})"), "", Ty::Int),
            16 => (format!("sum(DISTINCT {int})"), "::int", Ty::Int),
            17 => (format!("variance({int})"), "::int", Ty::Int),
            18 => (format!("array_agg(DISTINCT {text} ORDER BY {text})"), "::text[]", Ty::Texts),
            19 => (format!("bit_or({int})"), "", Ty::Int),
            _ => ("count(*)".to_owned(), "", Ty::Int),
        };
        let filter = if self.choices.chance(20) {
            format!(" FILTER (WHERE {})", self.condition(depth, scope))
        } else {
            String::new()
        };
        (format!("{call}{filter}{cast}"), ty)
    }

    /// Window functions. What is shown beside them is in every order, so that ties cannot be told apart.
    pub(super) fn windowed(&mut self, depth: usize, outer: &[Col]) -> Query {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        let keys: Vec<Col> = (0..1 + self.choices.below(3)).map(|_| self.choices.pick(&own).clone()).collect();
        let (partition, first) = (keys[0].sql.clone(), keys[keys.len() - 1].clone());
        let all: Vec<&str> = keys.iter().map(|it| it.sql.as_str()).collect();
        let all = all.join(", ");
        let one = keys.len() == 1;
        let (head, total, single) = match self.choices.below(4) {
            1 => (format!("ORDER BY {}", first.sql), one, true),
            2 => (format!("PARTITION BY {partition}"), false, false),
            3 => (format!("PARTITION BY {partition} ORDER BY {all}"), true, one),
            _ => (format!("ORDER BY {all}"), true, one),
        };
        let ordered = head.contains("ORDER");
        // Of one row and its equals: whatever is aggregated must be the same whichever of the equals comes first.
        let item = if total { self.shown_number(&keys) } else { self.expression(1, Ty::Int, &scope) };
        let frame = self.frame((ordered, total, single), first.ty);
        let function = self.window_function(&item, &partition, total);
        let function = if function.ends_with(')') && !function.contains("rank") && self.choices.chance(15) {
            self.filtered(function, &keys)
        } else {
            function
        };
        let filter = self.filter(depth, &scope);
        let list: Vec<_> = keys.iter().enumerate().map(|(at, it)| format!("{} AS c{at}", it.sql)).collect();
        let (list, last) = (list.join(", "), keys.len());
        let mut types: Vec<Ty> = keys.iter().map(|it| it.ty).collect();
        types.push(Ty::Text);
        let sql = match self.choices.below(5) {
            3 => format!(
                "SELECT {list}, ({function} OVER win)::text AS c{last} FROM {from}{filter} WINDOW win AS ({head}{frame})"
            ),
            4 if head.starts_with("PARTITION") && ordered => {
                let (by, order) = head.split_once(" ORDER").unwrap_or((&head, ""));
                format!(
                    "SELECT {list}, ({function} OVER (win ORDER{order}{frame}))::text AS c{last} FROM {from}{filter} WINDOW win AS ({by})"
                )
            }
            _ => format!("SELECT {list}, ({function} OVER ({head}{frame}))::text AS c{last} FROM {from}{filter}"),
        };
        Query { sql, types }
    }

    /// A number made of what shows.
    fn shown_number(&mut self, keys: &[Col]) -> String {
        let key = self.choices.pick(keys).clone();
        match key.ty {
            Ty::Int => key.sql,
            Ty::Text | Ty::Date | Ty::Json | Ty::Texts => format!("length({}::text)", key.sql),
        }
    }

    fn filtered(&mut self, function: String, keys: &[Col]) -> String {
        let aggregate = ["sum", "max", "count"].iter().any(|it| function.starts_with(it));
        if aggregate { format!("{function} FILTER (WHERE {})", self.condition(0, keys)) } else { function }
    }

    fn frame(&mut self, (ordered, total, single): (bool, bool, bool), by: Ty) -> String {
        let mut frames = vec![String::new()];
        if ordered {
            frames.extend(
                [
                    " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
                    " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
                    " GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE GROUP",
                    " RANGE UNBOUNDED PRECEDING EXCLUDE TIES",
                ]
                .map(str::to_owned),
            );
        }
        if total {
            let (before, after) = (self.choices.below(4), self.choices.below(3));
            frames.extend([
                format!(" ROWS BETWEEN {before} PRECEDING AND {after} FOLLOWING"),
                " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING".to_owned(),
                format!(" ROWS {before} PRECEDING EXCLUDE NO OTHERS"),
            ]);
        }
        if single {
            match by {
                Ty::Int => frames.push(" RANGE BETWEEN 3 PRECEDING AND 10 FOLLOWING".to_owned()),
                Ty::Date => {
                    frames.push(" RANGE BETWEEN '2 days' PRECEDING AND interval '1 month' FOLLOWING".to_owned())
                }
                Ty::Text | Ty::Json | Ty::Texts => {}
            }
        }
        self.choices.pick(&frames).clone()
    }

    fn window_function(&mut self, item: &str, shown: &str, total: bool) -> String {
        match self.choices.below(if total { 14 } else { 6 }) {
            1 => format!("sum({item})"),
            2 => "rank()".to_owned(),
            3 => "dense_rank()".to_owned(),
            4 => format!("max({item})"),
            5 => "percent_rank()".to_owned(),
            6 => "row_number()".to_owned(),
            7 => format!("lag({item})"),
            8 => format!("lead({item}, 2)"),
            9 => format!("first_value({shown})"),
            10 => format!("last_value({item})"),
            11 => "ntile(3)".to_owned(),
            12 => format!("nth_value({item}, 2)"),
            13 => "cume_dist()".to_owned(),
            _ => "count(*)".to_owned(),
        }
    }
}
