//! Maps a position in the rewritten text back to the client's.

use pg_query::protobuf::ScanToken;

use super::parse::{position, scan};

/// Where the token that an upstream error points at stands in the client's text; positions in characters from 1, as in
/// the `P` field of ErrorResponse. `None` where that cannot be told for certain: the rewriter reorders conjuncts and adds
/// names, so only a token that stands exactly once in both texts is the same token.
pub fn map_position(client: &str, sent: &str, sent_position: u32) -> Option<u32> {
    let at = byte_of(sent, sent_position)?;
    let sent_tokens = scan(sent).ok()?;
    let client_tokens = scan(client).ok()?;
    let word = sent_tokens.iter().find(|t| span(t).is_some_and(|s| s.contains(&at))).and_then(|t| folded(sent, t))?;
    let once = |text, tokens: &[ScanToken]| {
        let mut same = tokens.iter().filter(|t| folded(text, t).as_ref() == Some(&word)).filter_map(span);
        let first = same.next()?;
        same.next().is_none().then_some(first.start)
    };
    once(sent, &sent_tokens)?;
    let start = once(client, &client_tokens)?;
    Some(position(client, start))
}

fn byte_of(text: &str, position: u32) -> Option<usize> {
    let index = usize::try_from(position).ok()?.checked_sub(1)?;
    text.char_indices().nth(index).map(|(at, _)| at)
}

fn span(token: &ScanToken) -> Option<std::ops::Range<usize>> {
    Some(usize::try_from(token.start).ok()?..usize::try_from(token.end).ok()?)
}

/// A token as the grammar takes it: the deparser may have changed a word's case or its quotes.
fn folded(text: &str, token: &ScanToken) -> Option<String> {
    let word = text.get(span(token)?)?;
    Some(match word.strip_prefix('"').and_then(|w| w.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None if word.starts_with('\'') => word.to_owned(),
        None => word.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_stands_once_is_found() {
        let client = "select é, nme\nfrom Customers where \"Id\" = 1";
        let sent = "SELECT é, nme FROM public.customers customers WHERE customers.tenant_id OPERATOR(pg_catalog.=) $1 AND \"Id\" = 1";
        let pos = |text: &str, word: &str| text[..text.find(word).unwrap()].chars().count() as u32 + 1;
        assert_eq!(map_position(client, sent, pos(sent, "nme")), Some(pos(client, "nme")));
        assert_eq!(map_position(client, sent, pos(sent, "\"Id\"")), Some(pos(client, "\"Id\"")));
        // Not in the client's text, in it once but in the sent text thrice, off the end
        for position in [pos(sent, "tenant_id"), pos(sent, "customers"), 0, 9_999] {
            assert_eq!(map_position(client, sent, position), None, "{position}");
        }
    }
}
