//! Expressions and conditions. None fails for any value that the fixture holds.

use super::super::schema::Ty;
use super::{Col, Generator};

impl Generator {
    pub(super) fn expression(&mut self, depth: usize, ty: Ty, scope: &[Col]) -> String {
        let fitting: Vec<&Col> = scope.iter().filter(|it| it.ty == ty).collect();
        let form = if depth == 0 { self.choices.below(4) } else { self.choices.below(16) };
        if form < 6 && !fitting.is_empty() {
            return self.choices.pick(&fitting).sql.clone();
        }
        let below = depth.saturating_sub(1);
        match form {
            6 if depth > 0 => self.scalar(below, ty, scope),
            7 => self.case(below, ty, scope),
            8 => format!("coalesce({}, {})", self.expression(below, ty, scope), self.expression(below, ty, scope)),
            9 => format!("nullif({}, {})", self.expression(below, ty, scope), self.typed(below, ty, scope)),
            10.. => match ty {
                Ty::Int => self.int(below, scope),
                Ty::Text => self.text(below, scope),
                Ty::Date => self.date(below, scope),
                Ty::Json => self.json(below, scope),
                Ty::Texts => self.texts(below, scope),
            },
            _ => self.leaf(ty),
        }
    }

    /// As [`Self::expression`], of a type that is sure even where a literal's would be open.
    pub(super) fn typed(&mut self, depth: usize, ty: Ty, scope: &[Col]) -> String {
        let sql = self.expression(depth, ty, scope);
        format!("({sql})::{}", ty.sql())
    }

    fn leaf(&mut self, ty: Ty) -> String {
        match ty {
            Ty::Int => {
                let value = self.choices.below(20);
                self.number(value)
            }
            Ty::Text => self.word(),
            Ty::Date => {
                let date = format!("2024-02-{:02}", 1 + self.choices.below(28));
                self.constant(&date, "date", format!("date '{date}'"))
            }
            Ty::Json => {
                let json = *self.choices.pick(&["{\"n\": 3}", "[1, \"ALPHA_pref_2\"]", "null", "7"]);
                self.constant(json, "jsonb", format!("'{json}'::jsonb"))
            }
            Ty::Texts => {
                let list = *self.choices.pick(&["{vip}", "{}", "{ALPHA_tag_3,NULL,x}"]);
                self.constant(list, "text[]", format!("'{list}'::text[]"))
            }
        }
    }

    fn case(&mut self, depth: usize, ty: Ty, scope: &[Col]) -> String {
        let (one, other) = (self.expression(depth, ty, scope), self.expression(depth, ty, scope));
        if self.choices.chance(25) {
            let tested = self.typed(depth, Ty::Text, scope);
            return format!("CASE {tested} WHEN 'paid' THEN {one} WHEN {} THEN {other} END", self.word());
        }
        format!("CASE WHEN {} THEN {one} ELSE {other} END", self.condition(depth, scope))
    }

    fn int(&mut self, depth: usize, scope: &[Col]) -> String {
        let form = self.choices.below(16);
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            1 => format!("length({})", of(Ty::Text)),
            2 => format!("extract(day FROM {})::int", of(Ty::Date)),
            3 => format!("({} - {})", of(Ty::Int), of(Ty::Int)),
            4 => format!("({} % 7)", of(Ty::Int)),
            5 => format!("abs(-{})", of(Ty::Int)),
            6 => format!("greatest({}, {}, 2)", of(Ty::Int), of(Ty::Int)),
            7 => format!("cardinality({})", of(Ty::Texts)),
            8 => format!("position('_' IN {})", of(Ty::Text)),
            9 => format!("({} - date '2024-01-01')", of(Ty::Date)),
            10 => format!("strpos({}, 'a')", of(Ty::Text)),
            11 => format!("CAST({} AS numeric(12, 2))::int", of(Ty::Int)),
            12 => format!("date_part('month', {})::int", of(Ty::Date)),
            13 => format!("(CASE WHEN {} THEN 1 END)", self.condition(depth, scope)),
            14 => format!("({} & 6)", of(Ty::Int)),
            15 => format!("array_position({}, 'vip')", of(Ty::Texts)),
            _ => format!("({} + {})", of(Ty::Int), self.choices.below(9)),
        }
    }

    fn text(&mut self, depth: usize, scope: &[Col]) -> String {
        let form = self.choices.below(31);
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            1 => format!("upper({})", of(Ty::Text)),
            2 => format!("{}::text", of(Ty::Int)),
            3 => format!("substring({} FROM 2 FOR 5)", of(Ty::Text)),
            4 => format!("trim(BOTH 'A' FROM {})", of(Ty::Text)),
            5 => format!("replace({}, 'ALPHA', {})", of(Ty::Text), of(Ty::Text)),
            6 => format!("split_part({}, '_', 2)", of(Ty::Text)),
            7 => format!("left({}, 4)", of(Ty::Text)),
            8 => format!("lpad({}, 9, '*')", of(Ty::Text)),
            9 => format!("md5({})", of(Ty::Text)),
            10 => format!("concat_ws('-', {}, {})", of(Ty::Text), of(Ty::Int)),
            11 => format!("regexp_replace({}, '[0-9]+', '#', 'g')", of(Ty::Text)),
            12 => format!("format('%s|%s', {}, {})", of(Ty::Text), of(Ty::Date)),
            13 => format!("overlay({} PLACING 'zz' FROM 3 FOR 2)", of(Ty::Text)),
            14 => format!("to_char({}, 'YYYY-MM-DD')", of(Ty::Date)),
            15 => format!("({} ->> 'theme')", of(Ty::Json)),
            16 => format!("({} #>> '{{k}}')", of(Ty::Json)),
            17 => format!("jsonb_typeof({})", of(Ty::Json)),
            18 => format!("({})[1]", of(Ty::Texts)),
            19 => format!("array_to_string({}, ',', '?')", of(Ty::Texts)),
            20 => format!("reverse(initcap({}))", of(Ty::Text)),
            21 => format!("concat({}, {})", of(Ty::Text), of(Ty::Int)),
            22 => format!("CAST({} AS varchar(5))", of(Ty::Text)),
            23 => format!("to_char({}, 'FM000')", of(Ty::Int)),
            24 => format!("translate({}, 'aA', '4')", of(Ty::Text)),
            25 => format!("chr((65 + abs({}) % 26)::int)", of(Ty::Int)),
            26 => format!("quote_literal({})", of(Ty::Text)),
            27 => format!("({} COLLATE \"C\")", of(Ty::Text)),
            28 => format!("({})::text", of(Ty::Texts)),
            29 => format!("ROW({}, {})::text", of(Ty::Int), of(Ty::Text)),
            30 => format!("(string_to_array({}, '_'))[2:3]::text", of(Ty::Text)),
            _ => format!("({} || {})", of(Ty::Text), of(Ty::Text)),
        }
    }

    fn date(&mut self, depth: usize, scope: &[Col]) -> String {
        let form = self.choices.below(8);
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            1 => format!("({} - 3)", of(Ty::Date)),
            2 => format!("date_trunc('month', {}::timestamp)::date", of(Ty::Date)),
            3 => format!("({} + interval '1 month 2 days')::date", of(Ty::Date)),
            4 => format!("make_date(2024, (1 + abs({}) % 12)::int, 3)", of(Ty::Int)),
            5 => format!("least({}, {})", of(Ty::Date), of(Ty::Date)),
            6 => format!("to_date(to_char({}, 'YYYYMM'), 'YYYYMM')", of(Ty::Date)),
            7 => format!("({}::timestamp AT TIME ZONE 'UTC' AT TIME ZONE 'Asia/Tokyo')::date", of(Ty::Date)),
            _ => format!("({} + {})", of(Ty::Date), self.choices.below(40)),
        }
    }

    fn json(&mut self, depth: usize, scope: &[Col]) -> String {
        let form = self.choices.below(11);
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            1 => format!("({} -> 'n')", of(Ty::Json)),
            2 => format!("to_jsonb({}::text)", of(Ty::Text)),
            3 => format!("jsonb_build_array({}, {})", of(Ty::Int), of(Ty::Text)),
            4 => format!("to_jsonb({})", of(Ty::Texts)),
            5 => format!("jsonb_strip_nulls({})", of(Ty::Json)),
            6 => format!("jsonb_path_query_first({}, '$.theme')", of(Ty::Json)),
            7 => format!("jsonb_set('{{\"a\": 1}}', '{{a}}', coalesce({}, '0'))", of(Ty::Json)),
            8 => format!("(jsonb_build_object('x', {}) || '{{\"y\": 2}}')", of(Ty::Text)),
            9 => format!("row_to_json(ROW({}, {}))::jsonb", of(Ty::Int), of(Ty::Date)),
            10 => format!("({} -> 0)", of(Ty::Json)),
            _ => format!("jsonb_build_object('k', {}, 'n', {})", of(Ty::Text), of(Ty::Int)),
        }
    }

    fn texts(&mut self, depth: usize, scope: &[Col]) -> String {
        let form = self.choices.below(9);
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            1 => format!("string_to_array({}, '_')", of(Ty::Text)),
            2 => format!("array_append({}, {}::text)", of(Ty::Texts), of(Ty::Text)),
            3 => format!("({} || {})", of(Ty::Texts), of(Ty::Texts)),
            4 => format!("({})[1:2]", of(Ty::Texts)),
            5 => format!("array_remove({}, 'vip')", of(Ty::Texts)),
            6 => {
                let inner = self.plain(depth, Some(&[Ty::Text]), scope);
                format!("ARRAY({} ORDER BY 1)::text[]", inner.sql)
            }
            7 => format!("regexp_split_to_array({}, 'A')", of(Ty::Text)),
            8 => format!("regexp_match({}, '([a-z]+)_([0-9])')", of(Ty::Text)),
            _ => format!("ARRAY[{}, {}]::text[]", of(Ty::Text), of(Ty::Text)),
        }
    }

    /// A subquery that returns one row.
    fn scalar(&mut self, depth: usize, ty: Ty, outer: &[Col]) -> String {
        let (from, own) = self.from(depth, outer);
        let scope = [own.as_slice(), outer].concat();
        // An aggregate over nothing of its own level would belong to the outer query.
        let filter = self.filter(depth, &scope);
        match own.iter().find(|it| it.ty == ty) {
            Some(own) if matches!(ty, Ty::Json | Ty::Texts) => {
                format!("(SELECT {} FROM {from}{filter} ORDER BY 1 LIMIT 1)", own.sql)
            }
            Some(own) => format!("(SELECT max({}) FROM {from}{filter})", own.sql),
            None => {
                let value = self.expression(0, ty, &[]);
                format!("(SELECT {value} FROM {from}{filter} LIMIT 1)")
            }
        }
    }

    pub(super) fn condition(&mut self, depth: usize, scope: &[Col]) -> String {
        let below = depth.saturating_sub(1);
        let form = if depth == 0 { self.choices.below(9) } else { self.choices.below(38) };
        let ty = self.some_type();
        let one = |g: &mut Self| g.expression(below, ty, scope);
        let left = one(self);
        match form {
            1 => format!("{left} <> {}", one(self)),
            2 => format!("{left} < {}", one(self)),
            3 => format!("{left} IS NOT NULL"),
            4 => format!("{left} BETWEEN {} AND {}", one(self), one(self)),
            5 => format!("{left} IS DISTINCT FROM {}", one(self)),
            6 => format!("{left} IN ({}, {})", one(self), one(self)),
            7 => format!("{left}::text LIKE '%{}%'", self.choices.pick(&["1", "ALPHA", "_2", "a"])),
            8 => format!("{left} IS NULL"),
            9 | 10 => format!("({} AND {})", self.condition(below, scope), self.condition(below, scope)),
            11 => format!("({} OR {})", self.condition(below, scope), self.condition(below, scope)),
            12 => format!("NOT ({})", self.condition(below, scope)),
            13..=19 => self.by_subquery(form, below, (&left, ty), scope),
            20 => format!("{left} = ANY (ARRAY[{}, {}])", one(self), one(self)),
            21 => format!("({left}, {}) = ({}, 1)", self.expression(0, Ty::Int, scope), one(self)),
            22 => format!("({left}, {}) < ({}, 5)", self.expression(0, Ty::Int, scope), one(self)),
            23 => format!("ROW({left}, {}) IS DISTINCT FROM ROW({}, 2)", self.expression(0, Ty::Int, scope), one(self)),
            24 => format!("{left} BETWEEN SYMMETRIC {} AND {}", one(self), one(self)),
            25 => format!("({}) IS NOT TRUE", self.condition(below, scope)),
            26 => format!("({}) IS UNKNOWN", self.condition(below, scope)),
            27 => format!("({left}, {}) IS NOT NULL", self.expression(0, Ty::Int, scope)),
            28 => format!("({left} = {}) = ({left} IS NULL)", one(self)),
            29.. => self.by_operator(form, below, scope),
            _ => format!("{left} = {}", one(self)),
        }
    }

    fn by_subquery(&mut self, form: usize, below: usize, (left, ty): (&str, Ty), scope: &[Col]) -> String {
        match form {
            13 | 14 => {
                let inner = self.plain(below, Some(&[ty]), scope);
                let not = self.choices.pick(&["", "", "NOT "]);
                format!("{not}EXISTS ({})", inner.sql)
            }
            15 | 16 => {
                let inner = self.query(below, Some(&[ty]), scope);
                let not = self.choices.pick(&["IN", "IN", "NOT IN"]);
                format!("{left} {not} ({})", inner.sql)
            }
            17 => {
                let inner = self.query(below, Some(&[ty]), scope);
                let operator = self.choices.pick(&["= ANY", "< ALL", ">= ANY", "<> ALL", "= SOME"]);
                format!("{left} {operator} ({})", inner.sql)
            }
            18 => {
                let inner = self.plain(below, Some(&[ty, Ty::Int]), scope);
                format!("({left}, {}) IN ({})", self.expression(0, Ty::Int, scope), inner.sql)
            }
            _ => {
                let inner = self.plain(below, Some(&[ty, Ty::Int]), scope);
                let number = self.expression(0, Ty::Int, scope);
                format!("({left}, {number}) >= ({} ORDER BY 1, 2 LIMIT 1)", inner.sql)
            }
        }
    }

    fn by_operator(&mut self, form: usize, depth: usize, scope: &[Col]) -> String {
        let mut of = |ty| self.expression(depth, ty, scope);
        match form {
            29 => format!("{} ILIKE 'alpha\\_%'", of(Ty::Text)),
            30 => format!("{} ~ '_[1-4]$'", of(Ty::Text)),
            31 => format!("{} @> ARRAY['vip']", of(Ty::Texts)),
            32 => format!("{} && {}", of(Ty::Texts), of(Ty::Texts)),
            33 => format!("{} = ANY ({})", of(Ty::Text), of(Ty::Texts)),
            34 => format!("{} @> '{{\"n\": 3}}'", of(Ty::Json)),
            35 => format!("{} ? 'theme'", of(Ty::Json)),
            36 => format!("{} SIMILAR TO '%(1|3)'", of(Ty::Text)),
            _ => format!("({}, interval '5 days') OVERLAPS (date '2024-02-03', date '2024-02-20')", of(Ty::Date)),
        }
    }
}
