//! Webhooks as specified by <https://www.standardwebhooks.com>: a message flows in, a signed request flows out.

mod settings;
mod signature;

pub use settings::Webhook;
