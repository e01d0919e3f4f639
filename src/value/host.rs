/// The name of this host for people and receivers: `TL_HOST`, else what the system calls it. On one line.
///
/// A container has another name each time. Whoever groups messages by host then sets it.
pub fn host_name() -> String {
    let given = std::env::var("TL_HOST").ok().filter(|name| !name.trim().is_empty());
    let name = given.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    name.replace(char::is_control, " ")
}
