//! Where local data leads, followed step by step as POLICY.md tells it: a CNAME of the policy's, what stands at its end, and
//! which rules still speak there. Shares nothing with the gateway's own way of doing it.

use crate::policies::{Block, Play};
use crate::stage::message::{ANY, CNAME};
use crate::truth::Truth;

/// The most CNAMEs of the policy's in one answer.
const STEPS_MAX: usize = 8;

/// A CNAME that a rule puts in the place of whatever is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lead {
    pub(crate) to: &'static str,
    /// The name asked for is put before it.
    pub(crate) below: bool,
    /// Of the CNAME, in seconds.
    pub(crate) ttl: u32,
}

impl Lead {
    pub(crate) const fn to(to: &'static str, ttl: u32) -> Self {
        Self { to, below: false, ttl }
    }

    pub(crate) const fn below(to: &'static str, ttl: u32) -> Self {
        Self { to, below: true, ttl }
    }

    pub(crate) fn target(&self, name: &str) -> String {
        if self.below { format!("{name}.{}", self.to) } else { self.to.to_owned() }
    }
}

/// How a question that is led elsewhere ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// With the CNAME alone: it asks for that, or wants nothing looked up.
    Alone,
    /// With SERVFAIL: in a circle, or too long.
    Lost,
    /// Refused in an emergency.
    Refused,
    /// At the address of sinkholes, with this TTL.
    Here(u32),
    /// With what is true about this name.
    Away(String),
}

/// The way from a question to its end.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// Owner, target and TTL of each CNAME.
    pub(crate) cnames: Vec<(String, String, u32)>,
    pub(crate) end: End,
}

impl Way {
    /// What a play makes of a question that is led, `first` by this.
    pub(crate) fn of(play: &Play, (question, qtype): (&str, u16), recurses: bool, first: Lead) -> Self {
        let (mut cnames, mut used) = (Vec::<(String, String, u32)>::new(), vec![first]);
        let mut owner = question.to_owned();
        let end = loop {
            let lead = *used.last().expect("one at least");
            let target = lead.target(if used.len() == 1 { question } else { &owner });
            if target == question || cnames.iter().any(|(_, earlier, _)| *earlier == target) {
                break End::Lost;
            }
            cnames.push((std::mem::replace(&mut owner, target.clone()), target.clone(), lead.ttl));
            if !recurses || matches!(qtype, CNAME | ANY) {
                break End::Alone;
            }
            if cnames.len() > STEPS_MAX {
                break End::Lost;
            }
            if play.blocks_by_emergency(&target) {
                break End::Refused;
            }
            // Of all that a rule could do to the target, it is only led on, or has records.
            match play.local_data(&target) {
                Some(Block::Lead(next)) if !used.contains(&next) && next.target(&target) != target => used.push(next),
                Some(Block::Local(ttl)) => break End::Here(ttl),
                _ => break End::Away(target),
            }
        };
        Self { cnames, end }
    }

    /// What is done about the truth at its end: rules that vouch for answers are heard, those that block or rewrite are not.
    pub(crate) fn block(&self, play: &Play, truth: &Truth) -> Option<Block> {
        let End::Away(target) = &self.end else { return (self.end == End::Refused).then_some(Block::Refused) };
        let names = std::iter::once(&**target).chain(truth.chain.iter().map(|(_, target)| &**target));
        if names.clone().skip(1).any(|name| play.blocks_by_emergency(name)) {
            return Some(Block::Refused);
        }
        let unexpected = |name| play.says.unexpected(name, &truth.addresses);
        names.clone().find_map(unexpected).or_else(|| {
            let leads_inside = |address| play.says.leads_inside(play.strict, target, address);
            truth.addresses.iter().copied().any(leads_inside).then_some(Block::Nodata)
        })
    }
}

impl Play {
    /// All its CNAMEs.
    fn leads(&self) -> impl Iterator<Item = Lead> {
        let blocks = self.blocks.iter().map(|(_, block)| *block);
        let addresses = self.says.addresses.iter().map(|(_, does)| does.block);
        blocks.chain(addresses).filter_map(|block| if let Block::Lead(lead) = block { Some(lead) } else { None })
    }

    /// Whether a question may be led to this name.
    pub(crate) fn leads_to(&self, name: &str) -> bool {
        self.leads().any(|lead| match lead.below {
            true => name.ends_with(&format!(".{}", lead.to)),
            false => name == lead.to,
        })
    }

    /// All names to which a question may be led, by its name or by what its answer shows.
    pub(crate) fn targets(&self, question: &str) -> Vec<String> {
        let (mut targets, mut at) = (Vec::new(), question.to_owned());
        while let Some(Block::Lead(lead)) = self.local_data(&at) {
            at = lead.target(&at);
            if targets.contains(&at) {
                break;
            }
            targets.push(at.clone());
        }
        let by_address = self.says.addresses.iter().filter_map(|(_, does)| match does.block {
            Block::Lead(lead) => Some(lead.target(question)),
            _ => None,
        });
        targets.extend(by_address);
        targets
    }
}
