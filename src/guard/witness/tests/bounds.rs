//! What would take sqlparser's stack or the machine's memory is not read at all.

use super::*;

/// The deepest texts of each kind that are read, or refused by sqlparser's own limit: on no stack that a worker has would they
/// be. A failure of this test aborts the process.
#[test]
fn nothing_overflows() {
    let chain = read::MAX_TOKENS / 2 - 16;
    let texts = [
        format!("SELECT 1 FROM public.countries a{}", " JOIN public.countries a ON true".repeat(read::MAX_JOINS)),
        format!(
            "SELECT 1 FROM public.countries a{}{}",
            " JOIN public.countries a".repeat(read::MAX_JOINS),
            " ON true".repeat(read::MAX_JOINS)
        ),
        format!("SELECT 1 WHERE a{}", " AND a".repeat(chain)),
        format!("SELECT 1 WHERE a{}", " + a".repeat(chain)),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(chain * 2 / 3)),
        format!("SELECT 1{}", "::int".repeat(chain)),
        format!("SELECT a{}", ",a".repeat(chain)),
        format!("SELECT {}1{}", "(".repeat(3_000), ")".repeat(3_000)),
        format!("SELECT {}true", "NOT ".repeat(150)),
        format!("SELECT {}1", "- ".repeat(3_000)),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(500), ") x".repeat(500)),
        format!("SELECT {}1{}", "(SELECT ".repeat(500), ")".repeat(500)),
        format!("SELECT {}1{}", "f(".repeat(500), ")".repeat(500)),
        format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(500), " END".repeat(500)),
        format!("SELECT 1 FROM {}public.countries{}", "(".repeat(120), " JOIN public.countries ON true)".repeat(120)),
        format!("INSERT INTO public.countries (code, name) VALUES (1,'x'){}", ",(1,'x')".repeat(chain / 3)),
    ];
    for sql in &texts {
        let mut plan = planned(sql);
        plan.slots.clear();
        let said = testify(&fixture::policy(), &plan);
        // sqlparser tries some constructs, and forgets why it could not read them.
        let outcome =
            matches!(said, Testimony::Covered | Testimony::Abstains(Abstention::Bounds | Abstention::Grammar));
        assert!(outcome, "{}...: {said:?}", &sql[..60]);
    }
}

#[test]
fn what_is_too_much_is_not_read() {
    let abstains = |sql: &str| assert_eq!(says(sql), Testimony::Abstains(Abstention::Bounds), "{}", &sql[..40]);
    abstains(&format!("SELECT '{}'", "x".repeat(128 << 10)));
    abstains(&format!("SELECT 1{}", "+1".repeat(20_000)));
    abstains(&format!("SELECT 1 FROM a{}", " JOIN a ON true".repeat(read::MAX_JOINS + 1)));
    abstains(&format!("SELECT {}1{}", "(".repeat(300), ")".repeat(300)));
}
