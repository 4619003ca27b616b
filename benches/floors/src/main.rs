//! What the socket alone costs: programs that do the least that a DNS server, a relay and a sink can do, and the load to
//! measure them and others with. They are what weir and its peers are held against (benches/compare.py), and where other ways
//! through the kernel than weir's are tried (benches/ways.py).
//!
//! ```text
//! floors reflect ADDRESS:PORT [threads] [--option value]  answers each query from the query itself; UDP and TCP; see ways.rs
//! floors relay   ADDRESS:PORT ADDRESS:PORT [threads]  sends queries on and answers back, with other ids; UDP
//! floors sink    ADDRESS:PORT [threads]          receives and does nothing; UDP
//! floors load    ADDRESS:PORT[,ADDRESS:PORT...] [--option value]   see load.rs
//! ```

mod batch;
mod coalesced;
mod load;
mod outbox;
mod reflect;
mod relay;
mod uring;
mod ways;

use std::net::SocketAddrV4;
use std::process::exit;
use std::thread;

const USAGE: &str = "usage: floors reflect ADDRESS:PORT [threads] [--option value]... | \
relay ADDRESS:PORT ADDRESS:PORT [threads] | sink ADDRESS:PORT [threads] | \
load ADDRESS:PORT[,ADDRESS:PORT...] [--option value]...";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["reflect", at, ref rest @ ..] => {
            let at = address(at);
            let (count, options) = rest.split_at(usize::from(rest.first().is_some_and(|word| !word.starts_with("--"))));
            let way = ways::Way::read(options).unwrap_or_else(|wrong| fail(&wrong));
            let sockets = ways::open(at, threads(count), &way).unwrap_or_else(|wrong| fail(&wrong));
            thread::spawn(move || reflect::serve_streams(at));
            ways::run(sockets, &way, |socket, way| {
                fail(&format!("{}: {}", way.by, reflect::serve_datagrams(socket, way)))
            });
        }
        ["relay", at, to, ref rest @ ..] => {
            let (at, to) = (address(at), address(to));
            run(threads(rest), move || relay::serve(at, to));
        }
        ["sink", at, ref rest @ ..] => {
            let at = address(at);
            run(threads(rest), move || sink(at));
        }
        ["load", to, ref options @ ..] => {
            let load = load::Load::read(options).unwrap_or_else(|wrong| fail(&wrong));
            let to: Vec<_> = to.split(',').map(address).collect();
            println!("{}", load.run(&to));
        }
        _ => fail(USAGE),
    }
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    exit(2)
}

fn address(word: &str) -> SocketAddrV4 {
    word.parse().unwrap_or_else(|_| fail(&format!("{word:?} is no IPv4 address with a port")))
}

fn threads(rest: &[&str]) -> usize {
    match rest {
        [] => 1,
        [count] => count.parse().ok().filter(|count| (1..=256).contains(count)).unwrap_or_else(|| fail(USAGE)),
        _ => fail(USAGE),
    }
}

/// Each thread has a socket of its own at the same address, between which the kernel deals out the clients.
fn run(threads: usize, serve: impl Fn() + Clone + Send + 'static) {
    (1..threads).for_each(|_| drop(thread::spawn(serve.clone())));
    serve();
}

fn sink(at: SocketAddrV4) {
    let socket = batch::socket(Some(at));
    let mut ring = batch::Ring::new();
    loop {
        ring.receive(&socket, batch::Wait::ForOne);
    }
}
