//! A query and its response, as they come over the wire.

/// `www.example.com. A` with an OPT that carries a client cookie, as dig sends it.
pub(crate) const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x03wWw\x07eXample\x03com\0\0\x01\0\x01\
\0\0\x29\x04\xd0\0\0\x80\0\0\x0c\0\x0a\0\x08abcdefgh";

/// A CNAME, two addresses and an OPT.
pub(crate) const RESPONSE: &[u8] = b"\x12\x34\x81\x80\0\x01\0\x03\0\0\0\x01\x03wWw\x07eXample\x03com\0\0\x01\0\x01\
\xc0\x0c\0\x05\0\x01\0\0\x01\x2c\0\x07\x04edge\xc0\x10\
\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01\
\xc0\x2d\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x02\
\0\0\x29\x04\xd0\0\0\x80\0\0\0";
