# Reads messages, each behind a line with its length, and answers a line of JSON for each: the headers and the tree of parts as
# Perl's Email::MIME understands them. Bytes are base64, or a hash where there are many.
use strict;
use warnings;
use Email::MIME;
use Digest::SHA qw(sha256_hex);
use JSON::PP;
use MIME::Base64;

binmode STDIN;
my $json = JSON::PP->new->canonical->ascii;
$| = 1;

sub addresses {
    my ($mail, $name) = @_;
    my $list = $mail->header_as_obj($name) or return [];
    return [map { [$_->phrase // '', $_->address] } $list->addresses];
}

sub tree {
    my ($part) = @_;
    my $type = lc((split /\s*;/, $part->content_type // 'text/plain')[0]);
    my @parts = $part->subparts;
    return {type => $type, parts => [map { tree($_) } @parts]} if @parts;
    my $body = $part->body;
    return {
        type => $type,
        filename => scalar $part->filename,
        id => scalar $part->header('Content-ID'),
        disposition => (split /\s*;/, scalar $part->header('Content-Disposition') // '')[0] // '',
        length($body) > 1_000_000 ? (sha256 => sha256_hex($body)) : (body => encode_base64($body, '')),
    };
}

while (my $length = <STDIN>) {
    read STDIN, my $raw, $length or die 'a message is missing';
    my $mail = Email::MIME->new($raw);
    my %headers = map { lc($_) => [$mail->header_str($_)] } $mail->header_names;
    print $json->encode({
        headers => \%headers,
        addresses => {map { $_ => addresses($mail, $_) } qw(From To Cc Reply-To)},
        tree => tree($mail),
    }), "\n";
}
