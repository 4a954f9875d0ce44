//! A plan and a tenant make a [`Guarded`]: the only thing a session can send upstream.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use smallvec::SmallVec;

use super::channels::ChannelSpace;
use super::gate::settings::at_bind;
use super::plan::{Effect, Piece, PinReason, Plan, StatementKind, TenantCheck, TenantSlot};
use super::policy::Policy;
use super::service::Script;
use super::value::TenantValue;
use crate::base::{Arity, Mode, Oid, Refusal, RefusalKind, SqlState, TenantKeys};
use crate::sql::{literal_pieces, position_in, quote_identifier};

/// A statement may end in a comment that was not taken out: what separates it from the next must not stand in it.
const SEPARATOR: &str = "\n;";

/// Statements with one tenant's values in them. Only the guard can make one, so that a session without enforcement
/// does not compile.
#[derive(Clone, Debug)]
pub struct Guarded {
    script: Arc<Script>,
    /// Per statement, the values of its slots.
    values: PerStatement,
}

/// Values of one statement's slots: nearly always none or one.
type Values = SmallVec<[Arc<str>; 1]>;
/// Values for each statement of a text: nearly always one statement.
pub(super) type PerStatement = SmallVec<[Values; 1]>;

/// One parameter of a client's Bind message.
#[derive(Clone, Copy, Debug)]
pub struct BindValue<'a> {
    /// `None` is NULL.
    pub bytes: Option<&'a [u8]>,
    /// Sent in binary format (format code 1).
    pub binary: bool,
    /// Type that the client declared for it in Parse; 0 where it left that to the server.
    pub declared: Oid,
}

impl Script {
    /// Puts a tenant's keys into the plan and compares the literals that must be the tenant's own.
    ///
    /// # Errors
    /// 42501 where a literal names another tenant, or where the tenant has no key of the needed name.
    pub fn bind(self: &Arc<Self>, keys: &TenantKeys) -> Result<Guarded, Refusal> {
        if self.looks_up() {
            return Err(only_for_nobody());
        }
        self.bind_values(keys)
    }

    /// What a session may send that acts for no tenant: what needs none.
    ///
    /// # Errors
    /// 42501 for a look-up in anything but a plain query.
    pub fn bind_for_nobody(self: &Arc<Self>) -> Result<Guarded, Refusal> {
        let plain = |plan: &Plan| plan.kind == StatementKind::Select || !plan.looks_up();
        if !self.statements.iter().all(|it| plain(it)) {
            return Err(only_for_nobody());
        }
        self.bind_values(&TenantKeys::default())
    }

    /// Whether a statement calls a function that is for sessions that act for no tenant.
    pub fn looks_up(&self) -> bool {
        self.statements.iter().any(|plan| plan.looks_up())
    }

    fn bind_values(self: &Arc<Self>, keys: &TenantKeys) -> Result<Guarded, Refusal> {
        let values = self.statements.iter().map(|plan| slot_values(plan, keys)).collect::<Result<PerStatement, _>>()?;
        for (plan, values) in self.statements.iter().zip(&values) {
            self.check_literals(plan, values)?;
        }
        Ok(Guarded { script: self.clone(), values })
    }

    fn check_literals(&self, plan: &Plan, values: &[Arc<str>]) -> Result<(), Refusal> {
        for check in &plan.checks {
            let (slot, given) = match check {
                TenantCheck::Literal { slot, value } => (*slot, Some(Cow::Borrowed(&**value))),
                TenantCheck::Lifted { slot, literal } => (*slot, self.literal_value(*literal).map(Cow::Owned)),
                TenantCheck::Param { .. } => continue,
            };
            let own = values.get(slot).zip(plan.slots.get(slot));
            let own =
                own.and_then(|(own, target)| Some((TenantValue::from_text(target.type_oid, own)?, target.type_oid)));
            let same =
                own.zip(given).is_some_and(|((own, oid), given)| TenantValue::from_text(oid, &given) == Some(own));
            if !same {
                return Err(foreign_value());
            }
        }
        Ok(())
    }
}

impl Guarded {
    pub(super) fn from_parts<V: IntoIterator<Item = Arc<str>>>(
        script: Arc<Script>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self { script, values: values.into_iter().map(Values::from_iter).collect() }
    }

    pub(super) fn into_parts(self) -> (Vec<Arc<Plan>>, PerStatement) {
        (self.script.statements.to_vec(), self.values)
    }

    /// The same statements for another tenant.
    ///
    /// # Errors
    /// As [`Script::bind`].
    pub fn rebind(&self, keys: &TenantKeys) -> Result<Self, Refusal> {
        self.script.bind(keys)
    }

    /// Whether both are for the same tenants.
    pub fn has_values_of(&self, other: &Self) -> bool {
        self.values == other.values
    }

    /// What a statement of PREPARE runs once it is bound: none of its text, which the server has.
    pub fn as_prepared(&self, statement: usize) -> Option<Self> {
        let plan = Plan::clone(self.script.statements.get(statement)?);
        let outlasts = |effect: &Effect| !matches!(effect, Effect::Prepare(_) | Effect::Pin(PinReason::Prepare));
        let effects = plan.effects.into_iter().filter(outlasts).collect();
        let plan =
            Plan { pieces: Vec::new(), slots: Vec::new(), checks: Vec::new(), notes: Vec::new(), effects, ..plan };
        Some(Self::from_parts(Arc::new(Script::new(vec![plan], true)), [Values::new()]))
    }

    /// Whether a statement of it is not to be sent while the session acts for no tenant.
    pub fn needs_tenant(&self) -> bool {
        self.plans().iter().any(|plan| plan.needs_tenant)
    }

    /// The plans, in the order of the text.
    pub fn plans(&self) -> &[Arc<Plan>] {
        &self.script.statements
    }

    /// The text to send: for a Query all statements with the tenant's values as literals, for a Parse the one statement
    /// with `$n` in their places.
    pub fn text(&self) -> Cow<'_, str> {
        match &self.script.written {
            Some(written) => Cow::Borrowed(written),
            None => self.plain_text(),
        }
    }

    /// Whether the text to send is the client's, so that positions in it are the client's too.
    pub fn is_as_written(&self) -> bool {
        match self.plans() {
            [plan] => !plan.rewritten,
            // `written` is made of the client's text where nothing of that is rewritten.
            [] | [_, _, ..] => self.script.written.is_some(),
        }
    }

    /// Where in the client's text the token stands that a position in the text that was sent is of; both in characters and
    /// counted from 1.
    pub fn client_position(&self, sent: &str, position: usize) -> Option<usize> {
        position_in(sent, position, self.script.client_text()?)
    }

    /// Whether [`Guarded::plain_text`] is not [`Guarded::text`].
    pub fn has_comments(&self) -> bool {
        self.script.written.is_some()
    }

    /// [`Guarded::text`] without the client's comments: what statements that differ only in these have in common.
    pub fn plain_text(&self) -> Cow<'_, str> {
        match (&*self.script.statements, self.values.as_slice()) {
            ([plan], [values]) => self.statement_text(plan, values),
            (plans, values) => {
                let texts: Vec<_> = plans.iter().zip(values).map(|(p, v)| self.statement_text(p, v)).collect();
                Cow::Owned(texts.join(SEPARATOR))
            }
        }
    }

    fn statement_text<'a>(&self, plan: &'a Plan, values: &[Arc<str>]) -> Cow<'a, str> {
        if let [Piece::Text(text)] = plan.pieces.as_slice() {
            return Cow::Borrowed(text);
        }
        let mut out = String::with_capacity(plan.pieces.len() * 64);
        self.statement_pieces(plan, values, &mut |piece| out.push_str(piece));
        Cow::Owned(out)
    }

    /// [`Guarded::text`] piece by piece, without putting it together. `instead` gives the text of a statement that something
    /// stands in for.
    pub fn pieces(&self, put: &mut impl FnMut(&str), instead: impl Fn(usize) -> Option<&'static str>) {
        let stands_in = (0..self.script.statements.len()).any(|i| instead(i).is_some());
        if let Some(written) = self.script.written.as_ref().filter(|_| !stands_in) {
            return put(written);
        }
        let statements = self.script.statements.iter().zip(&self.values);
        for (i, (plan, values)) in statements.enumerate() {
            if i > 0 {
                put(SEPARATOR);
            }
            match instead(i) {
                Some(text) => put(text),
                None => self.statement_pieces(plan, values, put),
            }
        }
    }

    fn statement_pieces(&self, plan: &Plan, values: &[Arc<str>], put: &mut impl FnMut(&str)) {
        for piece in &plan.pieces {
            match piece {
                Piece::Text(text) => put(text),
                Piece::Slot(slot) => put_slot(put, plan, values, *slot, self.script.extended && !plan.inline_slots),
                Piece::Literal(i) => put(self.script.literal_token(*i)),
                Piece::Channel { slot, kind, name } => {
                    let space = ChannelSpace::of_key(values.get(*slot).map_or("", |key| key));
                    put(&quote_identifier(&kind.of(&space, name)));
                }
            }
        }
    }

    /// Parameter types for the Parse message: the client's, padded with 0 (unspecified), then those of the slots.
    pub fn param_types(&self, declared: &[Oid]) -> Vec<Oid> {
        let Some(plan) = self.script.statements.first().filter(|plan| !plan.slots.is_empty() && !plan.inline_slots)
        else {
            return declared.to_vec();
        };
        let mut types = declared.to_vec();
        types.resize(usize::from(plan.client_params), 0);
        types.extend(plan.slots.iter().map(TenantSlot::param_type));
        types
    }

    /// Values to append to the client's parameters in Bind, in text format.
    pub fn extra_values(&self) -> &[Arc<str>] {
        match self.script.statements.first().zip(self.values.first()) {
            Some((plan, values)) if !plan.inline_slots => values,
            Some(_) | None => &[],
        }
    }

    /// The tenant's value for a slot of a statement, with the slot's type: what a COPY stream is rewritten with.
    pub fn slot_value(&self, statement: usize, slot: usize) -> Option<(&Arc<str>, Oid)> {
        let plan = self.script.statements.get(statement)?;
        Some((self.values.get(statement)?.get(slot)?, plan.slots.get(slot)?.type_oid))
    }

    /// Compares the parameters that must be the tenant's own (INSERT and UPDATE of the tenant column).
    ///
    /// # Errors
    /// 42501 where a value is another tenant's, NULL, or not readable as the column's type.
    pub fn check_bind(&self, params: &[BindValue<'_>]) -> Result<(), Refusal> {
        let Some((plan, values)) = self.script.statements.first().zip(self.values.first()) else { return Ok(()) };
        for check in &plan.checks {
            let TenantCheck::Param { slot, number } = check else { continue };
            let (Some(value), Some(target)) = (values.get(*slot), plan.slots.get(*slot)) else {
                return Err(foreign_value());
            };
            let given =
                usize::from(*number).checked_sub(1).and_then(|i| params.get(i)).and_then(|p| p.read(target.type_oid));
            if given.is_none() || given != TenantValue::from_text(target.type_oid, value) {
                return Err(foreign_value());
            }
        }
        Ok(())
    }
}

impl Guarded {
    /// What its calls of `set_config` set whose name or value the parameters carry.
    ///
    /// # Errors
    /// 42501 for a setting or value that the session may not set.
    pub fn settings_at_bind(
        &self,
        policy: &Policy,
        mode: &Mode,
        params: &[BindValue<'_>],
    ) -> Result<Vec<Effect>, Refusal> {
        self.script.statements.first().map_or(Ok(Vec::new()), |plan| at_bind(policy, mode, plan, params))
    }
}

impl BindValue<'_> {
    fn read(&self, type_oid: Oid) -> Option<TenantValue> {
        let bytes = self.bytes?;
        if self.binary {
            // A declared int4 for an int8 column is 4 bytes: the server casts it on assignment.
            TenantValue::from_binary(if self.declared == 0 { type_oid } else { self.declared }, bytes)
        } else {
            TenantValue::from_text(type_oid, std::str::from_utf8(bytes).ok()?)
        }
    }
}

fn put_slot(put: &mut impl FnMut(&str), plan: &Plan, values: &[Arc<str>], slot: usize, extended: bool) {
    if extended {
        put("$");
        put(&(usize::from(plan.client_params) + slot + 1).to_string());
    } else if let (Some(value), Some(target)) = (values.get(slot), plan.slots.get(slot)) {
        put("CAST(");
        literal_pieces(value, put);
        let end = match target.arity {
            Arity::One => ")",
            Arity::Several => "[])",
        };
        for piece in [" AS ", &target.type_name, end] {
            put(piece);
        }
    }
}

fn slot_values(plan: &Plan, keys: &TenantKeys) -> Result<Values, Refusal> {
    let value = |slot: &TenantSlot| {
        // An array in the place of a key, or the other way round, would be a mistake of pgwarden's own.
        let value = keys.get(&slot.key).filter(|_| slot.arity == keys.arity);
        value.cloned().ok_or_else(|| missing_key(slot.key.as_deref(), keys.arity))
    };
    plan.slots.iter().map(value).collect()
}

fn only_for_nobody() -> Refusal {
    Refusal::new(
        RefusalKind::Function,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "permission denied for a function of tenancy.without_tenant",
    )
    .hint("It may be called in a SELECT by a login of several tenants, before the session acts for one.")
}

fn foreign_value() -> Refusal {
    Refusal::new(
        RefusalKind::ForeignTenant,
        SqlState::INSUFFICIENT_PRIVILEGE,
        "the value for the tenant column is not this tenant's",
    )
    .hint("Leave the tenant column out, or give it the tenant's own key: pgwarden fills it in.")
    .about("tenant column")
}

fn missing_key(name: Option<&str>, arity: Arity) -> Refusal {
    let which = name.map_or_else(|| "no key".to_owned(), |name| format!("no key named \"{name}\""));
    let who = match arity {
        Arity::One => "this tenant",
        Arity::Several => "one of these tenants",
    };
    Refusal::new(
        RefusalKind::Relation,
        SqlState::INSUFFICIENT_PRIVILEGE,
        format!("{who} has {which}, which a table of this statement is keyed by"),
    )
    .hint("An operator adds it to the tenant's entry in the configuration (key = ..., keys = { ... }).")
    .about(name.unwrap_or("key"))
}
