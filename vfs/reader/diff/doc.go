// Package diff finds the rows that differ between two states of a replica, and the
// statements that undo the changes. The cost depends on the changes, not on the size of the
// tables.
//
//	from, err := sqlite3.Open("file:from.db?vfs=replica&replica=s3://bucket/app&txid=1f")
//	to, err := sqlite3.Open("file:to.db?vfs=replica&replica=s3://bucket/app&txid=20")
//	d, err := diff.New(ctx, from, to, diff.Options{})
//	for _, t := range d.Tables {
//		err := d.Rows(ctx, t, func(c diff.Change) error { ... })
//	}
//
// # What is compared
//
// The files of the replica between the two states show which pages may differ (package
// reader): all other pages that both states have are equal, byte for byte. From these pages,
// the package computes a set of candidates, the rows that may differ. SQLite then reads
// the candidates in both states, so that types, defaults of added columns and the like are
// SQLite's own. The next section argues that every row that differs is a candidate.
//
// # Why no row is missed
//
// Call the earlier state A and the later one B, and C the pages that differ. Take a table,
// with one b-tree in each state, and a row of A that B lacks or has otherwise (the case of
// a row of B is the same, with A and B exchanged). The row is on a leaf p of the b-tree of
// A.
//
//	                      p is in the b-tree of B      p is not
//	p is in C             (1) located, compared        (3) below a page that B lost
//	p is not in C         (2) an overflow page         (3)
//	                          is in C
//
// (1) A page is in a b-tree if, and only if, the search for a key on the page comes to it
// from the root. So each page of C that looks like one of a table is searched for in B,
// and, if found, in A ([side.owners], [Diff.inBoth]). This locates all pages of C that are
// in both b-trees, leaves and interior pages. The cells of such a leaf are compared.
//
// (3) Look at the path from the root of A to p, and at its last page q that is in the
// b-tree of B, too. The page after q on the path is a child of q in A and not in B, where
// it would be in the b-tree otherwise: q differs, so that it is located as in (1). If the
// roots themselves are different pages, both are looked at as if something above had lost
// one and gained the other. The walk ([Diff.walk]) goes from the top down through both
// b-trees at once, one height after another. At each height it has two sets of pages, of A
// and of B: the roots, the located pages, and the children of all interior pages that were
// looked at above. A page that is in one set only is looked at in its state, one that is in
// both is looked at in both if it is in C, and passed over otherwise: its children are the
// same ones in both b-trees, and what differs below is located. The pages on the path after
// q are not in the b-tree of B, so that they are in the set of A only, one after another
// down to p. All rows of p become candidates. This holds for leaves that SQLite put into
// the freelist without writing them, and for b-trees of different heights.
//
// (2) The leaf is the same, and leads to the same first overflow page. The first page of
// the row's chain that differs is an overflow page of this row in both states. Pages of C
// are therefore taken out of question if they are anything else in one of them: if their
// first byte is that of a b-tree page, which no overflow page begins with in a database of
// less than 33,554,432 pages; if they are in a freelist, in the chain of a candidate, or in
// the chain of an entry on a changed, live page of an index ([explainer.explain]). The
// pointer maps of a database with auto_vacuum lead from the others to their rows. Without
// them, all leaves of the tables are read, and the chains that begin where chains that were
// written in order would begin; if pages are left, all chains. That is costly, and noted.
//
// Cells that are the same, byte for byte, on two leaves are a row that was moved, and no
// candidate. Such a row can differ in its tail alone, as in (2), which does not depend on
// where its cell is.
//
// # What is read as a whole
//
// Tables are read in their order, in both states, if the files do not show what changed, if
// a quarter of the database changed, or if the columns of a table changed other than at their
// end. A table WITHOUT ROWID is read if its schema or root changed, if a changed page is in
// its b-tree, or if a changed overflow page may be: by the argument of (1) and (3), one of
// these conditions holds if its rows changed.
package diff
