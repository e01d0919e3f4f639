use std::time::SystemTime;

use lettre::Message as Mail;
use lettre::address::Envelope;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{MultiPart, SinglePart};

use super::settings::People;
use crate::channels::{Error, Message, text};

/// Longer subjects are cut: no mail program shows them in full.
const SUBJECT: usize = 250;

/// Renders a message as a mail, with its envelope.
pub(super) fn write(message: &Message, people: &People) -> Result<(Envelope, Vec<u8>), Error> {
    let unfit = |error: lettre::error::Error| Error::Unfit { reason: format!("the mail: {error}") };
    let domain = word(people.from.email.domain());
    // One thread for each pipeline and host: every mail replies to one that was never sent.
    let thread = format!("<{}.pipeline@{domain}>", word(&message.group()));
    let time = message.time.parse::<jiff::Timestamp>().map_or_else(|_| SystemTime::now(), SystemTime::from);
    // A mail program would decode text that looks like an encoded word. Break it up.
    let subject = text::one_line(&message.subject).replace("=?", "= ?");
    let mut building = Mail::builder()
        .from(people.from.clone())
        // The same for each attempt, so that mail programs can detect duplicates.
        .message_id(Some(format!("<{}@{domain}>", word(&message.id))))
        .date(time)
        .subject(text::cut(&subject, SUBJECT))
        .in_reply_to(thread.clone())
        .references(thread)
        .header(AutoSubmitted);
    building = people.to.iter().cloned().fold(building, lettre::message::MessageBuilder::to);
    building = people.cc.iter().cloned().fold(building, lettre::message::MessageBuilder::cc);
    if let Some(reply_to) = &people.reply_to {
        building = building.reply_to(reply_to.clone());
    }
    let plain = text::lines(message.body.trim_end());
    let mail = match &message.html {
        Some(html) => building.multipart(MultiPart::alternative_plain_html(plain, text::lines(html))),
        None => building.singlepart(SinglePart::plain(plain)),
    };
    let mail = mail.map_err(unfit)?;
    Ok((mail.envelope().clone(), mail.formatted()))
}

/// Replaces characters that a message id cannot contain.
fn word(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).collect()
}

/// Marks the mail as automatic, so that no vacation responder answers it (RFC 3834).
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
