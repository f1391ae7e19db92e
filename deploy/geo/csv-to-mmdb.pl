#!/usr/bin/perl
#
# AS data as CSV (first address, last address, AS number, name) to one MaxMind DB file of both
# families, with the field names of MaxMind's own AS database.
#
#   csv-to-mmdb.pl OUT.mmdb DESCRIPTION IN.csv...
#
# Needs Debian's libmaxmind-db-writer-perl. A line that is not such a range ends it, with its place.
use strict;
use warnings;

use MaxMind::DB::Writer::Tree;

die "usage: csv-to-mmdb.pl OUT.mmdb DESCRIPTION IN.csv...\n" if @ARGV < 3;
my ($out, $description, @inputs) = @ARGV;

my %types = (
    autonomous_system_number       => 'uint32',
    autonomous_system_organization => 'utf8_string',
);
my $tree = MaxMind::DB::Writer::Tree->new(
    ip_version               => 6,
    record_size              => 24,
    database_type            => 'ip-location-db-ASN (compat=GeoLite2-ASN)', # some readers look for that word
    languages                => ['en'],
    description              => { en => $description },
    map_key_type_callback    => sub { $types{ $_[0] } },
    remove_reserved_networks => 0, # the data decide
);

for my $input (@inputs) {
    open my $csv, '<:encoding(UTF-8)', $input or die "$input: $!\n";
    while (my $line = <$csv>) {
        $line =~ s/\r?\n\z//;
        my ($first, $last, $number, $name) = $line =~ /\A([0-9a-fA-F.:]+),([0-9a-fA-F.:]+),([0-9]+),(.*)\z/
            or die "$input:$.: not a range with AS number and name\n";
        $name =~ s/""/"/g if $name =~ s/\A"(.*)"\z/$1/;
        $tree->insert_range($first, $last,
            { autonomous_system_number => $number + 0, autonomous_system_organization => $name });
    }
    close $csv;
}

open my $file, '>:raw', "$out.partial" or die "$out.partial: $!\n";
$tree->write_tree($file);
close $file or die "$out.partial: $!\n";
rename "$out.partial", $out or die "$out: $!\n";
