//! Frames, messages, the first packet, Bind.

use bytes::BytesMut;
use pgwarden::base::Mode;
use pgwarden::guard::{Policy, startup_setting};
use pgwarden::wire::frame::{ClientLimits, take_frame};
use pgwarden::wire::frontend::{Bind, BindRewrite, ExtraParam, Format, FrontendMessage, rewrite_bind};
use pgwarden::wire::options::parse_options;
use pgwarden::wire::startup::FirstPacket;

/// A client's bytes after login, in one piece: frames out of them until one is wrong or incomplete. Every frame lies within
/// what came, and each body is read or refused.
pub fn frames(data: &[u8]) {
    let limits = ClientLimits { statement: 1 << 20, ..ClientLimits::default() };
    let mut buffer = BytesMut::from(data);
    let mut taken = 0;
    while let Ok(Some(frame)) = take_frame(&mut buffer, &limits) {
        taken += frame.bytes().len();
        assert_eq!(taken + buffer.len(), data.len());
        if let Ok(FrontendMessage::Query(text)) = FrontendMessage::read(frame.tag(), frame.body()) {
            assert!(!text.contains('\0') && text.len() < frame.body().len());
        }
    }
}

/// The first packet, its parameters and the switches in `options`.
pub fn startup(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    if let Ok(Some(FirstPacket::Startup(message))) = FirstPacket::take(&mut buffer) {
        let mut answer = BytesMut::new();
        message.negotiate(&mut answer).expect("protocol options hold no NUL");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(settings) = parse_options(text) else { return };
    let policy = Policy::empty();
    for (name, value) in settings {
        for mode in [Mode::Shared, Mode::Schema("s".into()), Mode::Database] {
            let allowed = startup_setting(&policy, &mode, &name, &value).is_ok();
            let sealed = ["role", "session_authorization", "app.tenant_id", "session_replication_role"];
            assert!(!(allowed && sealed.iter().any(|s| name.eq_ignore_ascii_case(s))), "{name}");
        }
    }
}

/// The body of a Bind, with more values appended: the server reads the client's values and formats as the client sent
/// them, and ours behind them. The first byte says how many are appended, and in which format.
pub fn bind(data: &[u8]) {
    let Some((how, body)) = data.split_first() else { return };
    let Ok(bind) = Bind::read(body) else { return };
    let format = if how & 4 == 0 { Format::Text } else { Format::Binary };
    let extra: Vec<_> = (0..how & 3).map(|_| ExtraParam { format, value: Some(b"own".as_slice()) }).collect();
    let count = bind.params.count();
    let change = BindRewrite { portal: "p", statement: "s", client_params: count, extra: &extra };
    let mut out = BytesMut::new();
    if rewrite_bind(&mut out, &bind, &change).is_err() {
        assert!(out.is_empty());
        return;
    }
    let again = Bind::read(out.get(5..).expect("a frame")).expect("what we write can be read");
    assert_eq!((again.portal, again.statement), ("p", "s"));
    assert_eq!(usize::from(again.params.count()), usize::from(count) + extra.len());
    for number in 1..=count {
        assert_eq!(again.params.get(number), bind.params.get(number));
        assert_eq!(again.format_code(number), bind.format_code(number));
    }
    for number in count + 1..=again.params.count() {
        assert_eq!(again.params.get(number), Some(Some(b"own".as_slice())));
        assert_eq!(again.format_code(number), u16::from(how & 4 != 0));
    }
    assert!(again.result_formats.iter().eq(bind.result_formats.iter()));
    // Another number of values than the statement has is the client's error.
    let fewer = BindRewrite { client_params: count.wrapping_add(1), ..change };
    assert!(rewrite_bind(&mut BytesMut::new(), &bind, &fewer).is_err());
}
