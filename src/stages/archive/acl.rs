//! POSIX access control lists as text, for readers that take no ACL from an extended attribute.
//!
//! Linux keeps an ACL in `system.posix_acl_access` and `system.posix_acl_default`: a version, then entries of tag, permissions and
//! id (`linux/posix_acl_xattr.h`). GNU tar (`--acls`) and bsdtar read the short text form of acl(5) from pax records.

/// The pax keyword for an attribute that is an ACL.
pub(super) fn keyword(attribute: &[u8]) -> Option<&'static [u8]> {
    match attribute {
        b"system.posix_acl_access" => Some(b"SCHILY.acl.access"),
        b"system.posix_acl_default" => Some(b"SCHILY.acl.default"),
        _ => None,
    }
}

/// The text of an ACL: `user::rw-,user:1234:r--,…`. `None` for what is no ACL of the one known version.
pub(super) fn text(value: &[u8]) -> Option<String> {
    let (version, entries) = value.split_first_chunk::<4>()?;
    let (entries, rest) = entries.as_chunks::<8>();
    if u32::from_le_bytes(*version) != 2 || !rest.is_empty() || entries.is_empty() {
        return None;
    }
    let entry = |entry: &[u8; 8]| {
        let [tag, tag_high, permissions, _, id @ ..] = *entry;
        let id = u32::from_le_bytes(id);
        let (kind, id) = match u16::from_le_bytes([tag, tag_high]) {
            0x01 => ("user", String::new()),
            0x02 => ("user", id.to_string()),
            0x04 => ("group", String::new()),
            0x08 => ("group", id.to_string()),
            0x10 => ("mask", String::new()),
            0x20 => ("other", String::new()),
            _ => return None,
        };
        let allowed = |bit: u8, letter: char| if permissions & bit != 0 { letter } else { '-' };
        Some(format!("{kind}:{id}:{}{}{}", allowed(4, 'r'), allowed(2, 'w'), allowed(1, 'x')))
    };
    Some(entries.iter().map(entry).collect::<Option<Vec<_>>>()?.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_becomes_its_text() {
        let acl = |entries: &[(u16, u16, u32)]| {
            let mut bytes = 2_u32.to_le_bytes().to_vec();
            for (tag, permissions, id) in entries {
                bytes.extend(tag.to_le_bytes());
                bytes.extend(permissions.to_le_bytes());
                bytes.extend(id.to_le_bytes());
            }
            bytes
        };
        let none = u32::MAX;
        let whole = acl(&[(1, 6, none), (2, 4, 1234), (4, 4, none), (8, 7, 99), (16, 7, none), (32, 0, none)]);
        let said = "user::rw-,user:1234:r--,group::r--,group:99:rwx,mask::rwx,other::---";
        assert_eq!(text(&whole).as_deref(), Some(said));
        assert_eq!(text(&acl(&[(3, 6, none)])), None);
        assert_eq!(text(&whole[..whole.len() - 1]), None);
        assert_eq!(text(&[1, 0, 0, 0]), None);
        assert_eq!(text(b""), None);
        assert_eq!(keyword(b"user.a"), None);
    }
}
