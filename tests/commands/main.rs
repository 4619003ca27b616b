//! The commands as a person meets them: the real program, in a directory of its own, over loopback.
//!
//! | file | what it promises |
//! |---|---|
//! | `drills` | each drill: its table, its end, and where it does not go |
//! | `offline` | usage, check, explain on a directory, and what is said when nothing runs |
//! | `running` | run with and without files, status, explain, the control socket, the end |
//! | `crashing` | kill -9 at random moments of apply and rollback: the next start serves one of the two policies |
//! | `feeds` | lists of a web server: what is right acts, what is wrong leaves the last good copy in force |
//! | `filling` | a disk that is full: the logs hold whole lines, also once there is room again |
//! | `incidents` | modes and emergency rules: at once, for a time, over a crash |
//! | `languages` | messages in English and Chinese, SARIF, the meaning of codes, schemas |
//! | `planning` | what a change would do, on recent queries and on files; the guard |
//! | `reloading` | by command, by signal, by itself; listeners that come and go; a bad policy changes nothing |
//! | `spoken` | what a person reads of each command, in both languages |
//! | `undoing` | apply, confirm, rollback, history, diff: what was changed is undone in one command |
//! | `watching` | top, the status, alerts of attacks that go on |

mod crashing;
mod drills;
mod feeds;
mod filling;
mod incidents;
mod languages;
mod offline;
mod place;
mod planning;
mod reloading;
mod running;
mod spoken;
mod undoing;
mod watching;
mod web;
