use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::crypto::sign::{SigningKey, authenticate};
use crate::value::Secret;

/// A key that signs webhooks.
pub(super) enum Key {
    /// HMAC-SHA256. Whoever can verify can also sign.
    Shared(Zeroizing<Vec<u8>>),
    /// Ed25519.
    Pair(SigningKey),
}

impl Key {
    /// Parses a key. The error contains no part of it.
    pub(super) fn read(key: &Secret) -> Result<Self, String> {
        let text = key.expose().trim();
        let bytes =
            |text: &str| STANDARD.decode(text).map(Zeroizing::new).map_err(|_| "a signing key is no base64".to_owned());
        if let Some(text) = text.strip_prefix("whsec_") {
            let bytes = bytes(text)?;
            return match bytes.len() {
                24..=64 => Ok(Self::Shared(bytes)),
                length => Err(format!("a `whsec_` key has 24 to 64 bytes, not {length}")),
            };
        }
        let Some(text) = text.strip_prefix("whsk_") else {
            return Err("a signing key begins with `whsec_` or `whsk_`".to_owned());
        };
        let bytes = bytes(text)?;
        // The seed alone, or the seed and the public key.
        let (seed, public) = bytes.split_at(bytes.len().min(32));
        let seed: Zeroizing<[u8; 32]> =
            Zeroizing::new(seed.try_into().map_err(|_| "a `whsk_` key has 32 or 64 bytes".to_owned())?);
        let key = SigningKey::from_seed(&seed);
        match public.len() {
            0 => Ok(Self::Pair(key)),
            32 if key.public() == public => Ok(Self::Pair(key)),
            32 => Err("the halves of a `whsk_` key do not belong together".to_owned()),
            _ => Err("a `whsk_` key has 32 or 64 bytes".to_owned()),
        }
    }

    /// The signature in the format of `webhook-signature`.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &str) -> String {
        let head = format!("{id}.{timestamp}.");
        match self {
            Self::Shared(key) => {
                let tag = authenticate(key, &[head.as_bytes(), body.as_bytes()]);
                format!("v1,{}", STANDARD.encode(tag))
            }
            Self::Pair(key) => {
                format!("v1a,{}", STANDARD.encode(key.sign(&[head.as_bytes(), body.as_bytes()].concat())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::sign::verify;

    fn key(text: &str) -> Result<Key, String> {
        Key::read(&Secret::new(text.to_owned()))
    }

    /// The example from the specification and its libraries.
    #[test]
    fn agrees_with_the_published_vector() {
        let key = key("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let signature = key.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
        assert_eq!(signature, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn another_implementation_verifies_what_is_signed_here() {
        let mut random = fastrand::Rng::with_seed(11);
        let now = jiff::Timestamp::now().as_second();
        for round in 0..10_000 {
            let mut secret = vec![0; random.usize(24..=64)];
            random.fill(&mut secret);
            let spelled = format!("whsec_{}", STANDARD.encode(&secret));
            let id = format!("msg_{}", random.u64(..));
            let body: String = (0..random.usize(..200)).map(|_| random.char(..)).collect();
            let signature = key(&spelled).unwrap().sign(&id, now, &body);
            let judge = standardwebhooks::Webhook::new(&spelled).unwrap();
            assert_eq!(judge.sign(&id, now, body.as_bytes()).unwrap(), signature, "round {round}");
            let mut headers = http::HeaderMap::new();
            for (name, value) in
                [("webhook-id", &id), ("webhook-timestamp", &now.to_string()), ("webhook-signature", &signature)]
            {
                headers.insert(name, value.parse().unwrap());
            }
            judge.verify(body.as_bytes(), &headers).unwrap();
            assert!(judge.verify(format!("{body}x").as_bytes(), &headers).is_err(), "round {round}");
        }
    }

    #[test]
    fn a_pair_signs_what_its_public_key_verifies() {
        let seed = [7; 32];
        let pair = SigningKey::from_seed(&seed);
        let whole = [seed, pair.public()].concat();
        for bytes in [seed.to_vec(), whole] {
            let signature = key(&format!("whsk_{}", STANDARD.encode(bytes))).unwrap().sign("a", 5, "b");
            let raw: [u8; 64] = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap().try_into().unwrap();
            assert!(verify(&pair.public(), b"a.5.b", &raw));
        }
    }

    #[test]
    fn no_error_shows_a_key() {
        let short = STANDARD.encode([0x5a; 23]);
        let wrong = STANDARD.encode([0x5a; 64]);
        for text in [
            short.clone(),
            format!("whsec_{short}"),
            format!("whsec_{}", STANDARD.encode([0x5a; 65])),
            format!("whsk_{short}"),
            format!("whsk_{wrong}"),
            format!("whsk_{}", STANDARD.encode([0x5a; 33])),
            "whsec_WlpaWlpa!WlpaWlpaWlpaWlpa".to_owned(),
            format!("whpk_{wrong}"),
            String::new(),
        ] {
            let Err(error) = key(&text) else { panic!("{text} was taken") };
            assert!(!error.contains("Wlpa"), "{error}");
        }
    }
}
