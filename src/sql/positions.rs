//! Where something in a text that was printed anew stands in the text that it was made of.
//!
//! A server's error tells the position of a token in the text that the server got. The client knows its own text: there the
//! same token is found by aligning the tokens of both (the longest common subsequence), which differ by what was put in and by
//! how the printer spells things.

use super::parse::scan;

/// More pairs of tokens are not compared: longer texts lose the position.
const PAIRS_MAX: usize = 250_000;

struct Token {
    /// In bytes.
    start: usize,
    end: usize,
    /// As it compares: without quotes, in lower case where case means nothing.
    spelled: String,
}

/// The position, in characters and counted from 1 as in an ErrorResponse, at which the token stands in `client` that the
/// position in `sent` is of; `None`: it stands in nothing of the client's, or that cannot be told.
pub fn position_in(sent: &str, position: usize, client: &str) -> Option<usize> {
    let at = byte_of(sent, position)?;
    let (theirs, ours) = (tokens(sent)?, tokens(client)?);
    let found = theirs.iter().position(|token| (token.start..token.end).contains(&at))?;
    let offset = at.checked_sub(theirs.get(found)?.start).filter(|offset| *offset == 0)?;
    let pairs = aligned(&theirs, &ours)?;
    let (_, of_client) = *pairs.iter().find(|(it, _)| *it == found)?;
    is_certain(&theirs, &ours, &pairs, (found, of_client)).then_some(())?;
    let start = ours.get(of_client)?.start + offset;
    Some(client.get(..start)?.chars().count() + 1)
}

fn byte_of(text: &str, position: usize) -> Option<usize> {
    text.char_indices().nth(position.checked_sub(1)?).map(|(at, _)| at)
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let scanned = scan(text).ok()?;
    scanned
        .iter()
        .map(|token| {
            let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
            Some(Token { start, end, spelled: spelled(text.get(start..end)?) })
        })
        .collect()
}

fn spelled(token: &str) -> String {
    match token.strip_prefix('"').and_then(|it| it.strip_suffix('"')) {
        Some(name) => name.replace("\"\"", "\""),
        None if token.starts_with('\'') => token.to_owned(),
        None if token == "!=" => "<>".to_owned(),
        None => token.to_lowercase(),
    }
}

/// Pairs of equal tokens in order, as many as there can be; of two that could be a token's partner the later one, since what is
/// put in (a predicate) stands before what the client wrote.
fn aligned(theirs: &[Token], ours: &[Token]) -> Option<Vec<(usize, usize)>> {
    let width = ours.len() + 1;
    let size = (theirs.len() + 1).checked_mul(width).filter(|size| *size <= PAIRS_MAX)?;
    // Of the texts up to a token of each.
    let mut longest = vec![0_u16; size];
    let read = |longest: &[u16], i: usize, j: usize| longest.get(i * width + j).copied().unwrap_or_default();
    for (i, a) in theirs.iter().enumerate() {
        for (j, b) in ours.iter().enumerate() {
            let best = if a.spelled == b.spelled {
                read(&longest, i, j).saturating_add(1)
            } else {
                read(&longest, i + 1, j).max(read(&longest, i, j + 1))
            };
            if let Some(cell) = longest.get_mut((i + 1) * width + j + 1) {
                *cell = best;
            }
        }
    }
    let (mut i, mut j, mut pairs) = (theirs.len(), ours.len(), Vec::new());
    while let (Some(a), Some(b)) = (i.checked_sub(1), j.checked_sub(1)) {
        if theirs.get(a)?.spelled == ours.get(b)?.spelled {
            pairs.push((a, b));
            (i, j) = (a, b);
        } else if read(&longest, a, j) >= read(&longest, i, b) {
            i = a;
        } else {
            j = b;
        }
    }
    pairs.reverse();
    Some(pairs)
}

/// A token that stands once in both texts, or whose neighbour is a pair as well. Without one, equal tokens may have met by chance.
fn is_certain(theirs: &[Token], ours: &[Token], pairs: &[(usize, usize)], (i, j): (usize, usize)) -> bool {
    let times = |tokens: &[Token]| {
        let it = theirs.get(i).map(|token| token.spelled.as_str());
        tokens.iter().filter(|token| Some(token.spelled.as_str()) == it).count()
    };
    let neighbour = |pair: Option<(usize, usize)>| pair.is_some_and(|pair| pairs.contains(&pair));
    (times(theirs) == 1 && times(ours) == 1)
        || neighbour(Some((i + 1, j + 1)))
        || neighbour(i.checked_sub(1).zip(j.checked_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::position_in;

    /// What stands at the client's position, for what stands at `|` in the text that was sent.
    fn found<'c>(sent: &str, client: &'c str) -> Option<&'c str> {
        let at = sent.find('|').unwrap();
        let sent = sent.replace('|', "");
        let position = sent[..at].chars().count() + 1;
        let found = position_in(&sent, position, client)?;
        Some(client.char_indices().nth(found - 1).map_or("", |(at, _)| &client[at..]))
    }

    #[test]
    fn a_token_of_the_client_is_found_in_its_text() {
        for (sent, client, expected) in [
            (
                "SELECT |nope FROM public.orders WHERE orders.tenant_id = 1",
                "select nope\nfrom orders",
                "nope\nfrom orders",
            ),
            (
                "SELECT o.id FROM public.orders o WHERE o.tenant_id = $1 AND |o.nope = 5",
                "SELECT o.id FROM orders o WHERE o.nope = 5",
                "o.nope = 5",
            ),
            (
                "SELECT 1 FROM public.orders o WHERE o.tenant_id = 1 AND CASE WHEN o.tenant_id = 1 THEN |f(o.id) ELSE false END",
                "SELECT 1 FROM orders o WHERE f(o.id)",
                "f(o.id)",
            ),
            ("SELECT 'ä', |\"Nope\" FROM public.orders", "SELECT 'ä', \"Nope\" FROM orders", "\"Nope\" FROM orders"),
            ("SELECT 1 WHERE a.x |<> 2", "SELECT 1 WHERE a.x != 2", "!= 2"),
        ] {
            assert_eq!(found(sent, client), Some(expected), "{sent}");
        }
    }

    #[test]
    fn what_the_client_did_not_write_has_no_position() {
        for (sent, client) in [
            ("SELECT 1 FROM public.orders o WHERE |o.tenant_id = 1", "SELECT 1 FROM orders o"),
            ("SELECT 1 FROM public.orders o WHERE o.|tenant_id = 1", "SELECT 1 FROM orders o"),
            ("SELECT x FROM |other", "SELECT y FROM orders"),
            ("SELECT 1 |", "SELECT 1"),
        ] {
            assert_eq!(found(sent, client), None, "{sent}");
        }
        assert_eq!(position_in("SELECT x", 0, "SELECT x"), None);
        assert_eq!(position_in("SELECT x", 99, "SELECT x"), None);
        assert_eq!(position_in("SELECT 'x", 8, "SELECT x"), None);
        let long = "SELECT 1".to_owned() + &" + 1".repeat(1_000);
        assert_eq!(position_in(&long, 1, &long), None, "too long to compare");
    }
}
