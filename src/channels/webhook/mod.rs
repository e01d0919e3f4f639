//! Webhooks as <https://www.standardwebhooks.com> describes them: a message flows in, a signed request flows out.

mod settings;
mod signature;

pub use settings::Webhook;
