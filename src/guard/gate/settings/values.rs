//! Values of settings, as the server would read them.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, a_const};

use crate::base::Mode;
use crate::guard::Policy;
use crate::guard::gate::names::{search_path, truncated};
use crate::sql::quote_identifier;

/// The value of a SET statement as one text, as `flatten_set_variable_args` makes it: the items of a list setting are
/// quoted as identifiers. `None` where it is no list of plain constants.
pub(super) fn of_args(name: &str, args: &[Node]) -> Option<String> {
    let parts: Option<Vec<String>> = args.iter().map(of_arg).collect();
    let parts = parts?;
    if name == "search_path" {
        let quoted: Vec<String> = parts.iter().map(|p| quote_identifier(p)).collect();
        return Some(quoted.join(", "));
    }
    Some(parts.join(", "))
}

fn of_arg(arg: &Node) -> Option<String> {
    let Some(NodeEnum::AConst(constant)) = arg.node.as_ref() else {
        return None;
    };
    Some(match constant.val.as_ref()? {
        a_const::Val::Ival(i) => i.ival.to_string(),
        a_const::Val::Fval(f) => f.fval.clone(),
        a_const::Val::Boolval(b) => b.boolval.to_string(),
        a_const::Val::Sval(s) => s.sval.clone(),
        a_const::Val::Bsval(_) => return None,
    })
}

/// The spellings of UTF8 that `pg_char_to_encoding` knows: letters and digits count, case does not.
pub(super) fn is_utf8(_: &Policy, _: &Mode, value: &str) -> bool {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    matches!(plain.as_str(), "utf8" | "unicode")
}

/// `parse_bool`: unique prefixes of true and yes, `on`, `1`.
pub(super) fn is_on(_: &Policy, _: &Mode, value: &str) -> bool {
    is_on_word(value)
}

/// The same of any such setting.
pub(super) fn is_on_word(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "on" | "1" | "t" | "tr" | "tru" | "true" | "y" | "ye" | "yes")
}

/// Schemas of the pinned path in its order, none else: what a name can mean only shrinks.
pub(super) fn is_pinned_path(policy: &Policy, mode: &Mode, value: &str) -> bool {
    let pinned = search_path(policy, mode);
    let Some(wanted) = split_identifiers(value) else {
        return false;
    };
    let mut rest = pinned.as_slice();
    let mut named = 0;
    // Where the tenant's schema is the path, a schema that is named as the role is not.
    let user = mode.is_shared();
    for schema in wanted.iter().filter(|s| !user || *s != "$user") {
        let Some(at) = rest.iter().position(|p| p == schema) else {
            return false;
        };
        rest = rest.get(at + 1..).unwrap_or_default();
        named += usize::from(schema != "pg_catalog");
    }
    // Whatever else is left out, the tenant's own schema stays the first: what is made goes there.
    let begins = |own: &str| wanted.iter().find(|it| *it != "pg_catalog").is_some_and(|first| first == own);
    named > 0 && if let Mode::Schema(own) = mode { begins(own) } else { true }
}

/// In the schema layout, libraries put `public` behind the tenant's schema, whether there is anything in it for tenants or not:
/// what of a path is not the tenant's to see is left out. `None`: nothing is.
pub(super) fn without_public(policy: &Policy, mode: &Mode, args: &[Node]) -> Option<Vec<Node>> {
    let Mode::Schema(own) = mode else { return None };
    let dropped = |arg: &&Node| {
        let name = of_arg(arg).unwrap_or_default();
        let idle = name == "$user" || (name == "public" && !policy.common_schemas.contains(&name));
        idle && name != own.as_ref()
    };
    let kept: Vec<Node> = args.iter().filter(|arg| !dropped(arg)).cloned().collect();
    (kept.len() < args.len() && !kept.is_empty()).then_some(kept)
}

/// `SplitIdentifierString` with commas.
fn split_identifiers(text: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let mut rest = text.trim();
    loop {
        let (name, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_name(quoted)?,
            None => {
                let end = rest.find([',', ' ', '\t', '\n', '\r', '"']).unwrap_or(rest.len());
                let (name, after) = rest.split_at(end);
                (name.to_ascii_lowercase(), after)
            }
        };
        if name.is_empty() {
            return None;
        }
        names.push(truncated(&name).to_owned());
        rest = after.trim_start();
        match rest.strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None => return rest.is_empty().then_some(names),
        }
    }
}

fn quoted_name(mut rest: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    loop {
        let end = rest.find('"')?;
        name.push_str(rest.get(..end)?);
        rest = rest.get(end + 1..)?;
        match rest.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None => return Some((name, rest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifier_lists_are_split_as_the_server_splits_them() {
        let split = |s: &str| split_identifiers(s);
        assert_eq!(split("\"$user\", Public"), Some(vec!["$user".into(), "public".into()]));
        assert_eq!(split("\"a,b\""), Some(vec!["a,b".into()]));
        assert_eq!(split("a b"), None);
        assert_eq!(split(""), None);
        assert_eq!(split("a,"), None);
    }
}
