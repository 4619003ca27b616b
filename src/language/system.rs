//! Why the system did not do something, in the languages of the gateway: the system itself says it in English alone.

use super::{Text, text};
use std::fmt::{self, Display};
use std::io;

impl Text {
    /// Why the system did not do something.
    pub fn of_io(error: &io::Error) -> Self {
        if let Some(cause) = error.get_ref() {
            return match (cause.downcast_ref::<Cause>(), cause.downcast_ref::<serde_json::Error>()) {
                (Some(cause), _) => cause.0.clone(),
                (_, Some(cause)) => Self::of_json(cause),
                _ => Self::of_library(error),
            };
        }
        match error.kind() {
            io::ErrorKind::NotFound => text!("no such file or directory"),
            io::ErrorKind::PermissionDenied => text!("permission denied"),
            io::ErrorKind::AlreadyExists => text!("it is there already"),
            io::ErrorKind::NotADirectory => text!("not a directory"),
            io::ErrorKind::IsADirectory => text!("it is a directory"),
            io::ErrorKind::DirectoryNotEmpty => text!("the directory is not empty"),
            io::ErrorKind::ReadOnlyFilesystem => text!("the file system is read-only"),
            io::ErrorKind::StorageFull => text!("no space is left on the device"),
            io::ErrorKind::QuotaExceeded => text!("the disk quota is used up"),
            io::ErrorKind::FileTooLarge => text!("the file is too large"),
            io::ErrorKind::ResourceBusy => text!("it is in use"),
            io::ErrorKind::OutOfMemory => text!("there is not enough memory"),
            io::ErrorKind::AddrInUse => text!("address in use"),
            io::ErrorKind::AddrNotAvailable => text!("this machine does not have the address"),
            io::ErrorKind::ConnectionRefused => text!("connection refused"),
            io::ErrorKind::ConnectionReset => text!("connection reset by the other side"),
            io::ErrorKind::ConnectionAborted => text!("the connection was broken off"),
            io::ErrorKind::BrokenPipe => text!("the other side has closed the connection"),
            io::ErrorKind::NotConnected => text!("there is no connection"),
            io::ErrorKind::HostUnreachable => text!("no route to the host"),
            io::ErrorKind::NetworkUnreachable => text!("the network cannot be reached"),
            io::ErrorKind::NetworkDown => text!("the network is down"),
            io::ErrorKind::TimedOut => text!("it took too long"),
            io::ErrorKind::UnexpectedEof => text!("it ended too early"),
            _ => Self::of_number(error),
        }
    }

    /// What has no kind of its own.
    fn of_number(error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => text!("too many files are open"),
            Some(libc::EIO) => text!("the device does not read or write (EIO)"),
            Some(libc::ELOOP) => text!("links lead in a circle"),
            Some(libc::ENAMETOOLONG) => text!("the name is too long"),
            _ => Self::of_library(error),
        }
    }

    /// An error that [`Self::of_io`] words like this.
    pub fn into_io(self, kind: io::ErrorKind) -> io::Error {
        io::Error::new(kind, Cause(self))
    }
}

/// A text within an error of the system.
#[derive(Debug)]
struct Cause(Text);

impl Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.english())
    }
}

impl std::error::Error for Cause {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Lang;

    #[test]
    fn what_the_system_says_most_is_said_in_both_languages() {
        for (number, zh) in [
            (libc::ENOENT, "文件或目录不存在"),
            (libc::EACCES, "权限不足"),
            (libc::EADDRINUSE, "地址已被占用"),
            (libc::ECONNREFUSED, "连接被拒绝"),
            (libc::ETIMEDOUT, "超时"),
            (libc::EPIPE, "对方已关闭连接"),
            (libc::EDQUOT, "磁盘配额已用完"),
            (libc::EMFILE, "打开的文件过多"),
            (libc::EIO, "设备读写失败（EIO）"),
            (libc::ELOOP, "链接首尾相连"),
            (libc::ENAMETOOLONG, "名称过长"),
        ] {
            let told = Text::of_io(&io::Error::from_raw_os_error(number));
            assert_eq!(told.to(Lang::Zh), zh, "{}", told.english());
            assert!(told.english().is_ascii() && told.kind() != "{words}", "{}", told.english());
        }
        let strange = io::Error::from_raw_os_error(libc::EXDEV);
        assert_eq!((Text::of_io(&strange).english(), Text::of_io(&strange).kind()), (strange.to_string(), "{words}"));
        assert_eq!(Text::of_io(&strange).to(Lang::Zh), format!("原文“{strange}”"), "what is not known is quoted");
    }

    #[test]
    fn words_of_ours_and_of_libraries_come_through_an_error() {
        let ours = text!("permission denied").into_io(io::ErrorKind::Other);
        assert_eq!((ours.to_string().as_str(), Text::of_io(&ours)), ("permission denied", text!("permission denied")));
        let theirs = io::Error::new(io::ErrorKind::InvalidInput, "corrupt deflate stream");
        assert_eq!(Text::of_io(&theirs).to(Lang::Zh), "压缩数据已损坏");
        let json = serde_json::from_str::<Vec<u8>>("[").unwrap_err();
        assert_eq!(Text::of_io(&json.into()).to(Lang::Zh), "第 1 行第 1 列：数据不完整");
    }

    #[test]
    fn what_a_url_lacks_is_said_in_both_languages() {
        use hyper::http::uri::{Authority, Parts, PathAndQuery, Scheme, Uri};
        let whole = |url: &str| url.parse::<Uri>().unwrap_err().to_string();
        let parts = |scheme: Option<Scheme>, host: Option<&'static str>, path: Option<&'static str>| {
            let mut parts = Parts::default();
            parts.scheme = scheme;
            parts.authority = host.map(Authority::from_static);
            parts.path_and_query = path.map(PathAndQuery::from_static);
            Uri::from_parts(parts).unwrap_err().to_string()
        };
        for (told, en, zh) in [
            (whole(""), "empty string", "内容为空"),
            (whole(&format!("{}://a.example/", "x".repeat(65))), "scheme too long", "URL 的协议部分过长"),
            (parts(None, Some("a.example"), Some("/")), "scheme missing", "URL 缺少协议部分"),
            (parts(Some(Scheme::HTTPS), None, Some("/")), "authority missing", "URL 缺少主机部分"),
            (parts(Some(Scheme::HTTPS), Some("a.example"), None), "path missing", "URL 缺少路径部分"),
        ] {
            assert_eq!(told, en);
            assert_eq!(Text::of_library(&told).to(Lang::Zh), zh);
        }
    }
}
