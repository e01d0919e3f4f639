//! Settings that every service has.

use serde_json::Value as Json;

/// Declares the settings of a service: its own keys, and the connection settings. `at` names the setting with its URL.
///
/// serde's `flatten` cannot refuse unknown keys, so the macro writes the common ones into each struct.
macro_rules! service {
    ($(#[$about:meta])* $name:ident at $address:ident { $($(#[$meta:meta])* $field:ident: $kind:ty,)* } $($method:item)+) => {
        $(#[$about])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub(in crate::channels) struct $name {
            $($(#[$meta])* $field: $kind,)*
            /// The longest that one attempt may take; by default 20s.
            timeout: Option<PositiveDuration>,
            /// Whether addresses of this machine and its network may be told, and `http:` used for them.
            #[serde(default)]
            allow_private: bool,
            /// A PEM file with certificates that are trusted instead of the system's.
            ca_certificate: Option<FilePath>,
        }

        impl Service for $name {
            fn connection(&self) -> Connection<'_> {
                Connection::new(self.allow_private, self.ca_certificate.as_ref(), self.timeout)
            }

            fn address(&self) -> (&'static str, Secret) {
                (stringify!($address), self.$address.clone().into())
            }

            $($method)+
        }
    };
}

pub(super) use service;

/// Whether an answer is JSON that says no: `ok` or `success` is false, or `status` is 0.
pub(super) fn says_no(answer: &str) -> bool {
    let answer: Json = serde_json::from_str(answer).unwrap_or_default();
    answer["ok"] == false || answer["success"] == false || answer["status"] == 0
}
