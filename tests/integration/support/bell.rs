//! A channel of kind `command` that can fail.

/// What the channel `bell` does: it writes down the id of each message, and ends itself or `tl` where a file says so.
pub const BELL: &str = r#"
if [ -e kill-before ]; then rm kill-before; kill -9 $PPID; exit 1; fi
if [ -e refuse ]; then exit 1; fi
echo "$TL_MESSAGE_ID" >> told
if [ -e kill-after ]; then rm kill-after; kill -9 $PPID; fi
exit 0
"#;
